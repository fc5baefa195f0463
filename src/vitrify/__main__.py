"""``python -m vitrify``: the command, where it is not on the path."""

from vitrify.cli import main

if __name__ == "__main__":  # processes that are started import this file under another name
    main()
