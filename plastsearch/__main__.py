"""`python -m plastsearch`, where the command's own name is not on the path."""

from plastsearch.cli.main import main

if __name__ == "__main__":
    main()
