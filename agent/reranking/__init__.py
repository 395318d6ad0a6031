"""Which of several texts answer a question best."""
