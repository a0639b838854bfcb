"""Bad input is answered with the contract's code and loses nothing."""
