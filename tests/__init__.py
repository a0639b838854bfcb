"""The promises of Alyx, one folder for each part."""
