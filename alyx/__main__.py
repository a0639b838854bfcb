"""`python -m alyx` is `alyx`."""

from alyx.cli.main import main

if __name__ == "__main__":
    main()
