"""What is wrong with the document that a dataset is read from."""


class Unreadable(Exception):
    """The document cannot be read as rows; ``problem`` is for whoever named it."""

    def __init__(self, problem: str) -> None:
        """Keep the problem."""
        self.problem = problem
        super().__init__(problem)
