"""`python -m training <verb> <config.yaml>`."""

from training.cli import main

if __name__ == "__main__":
    main()
