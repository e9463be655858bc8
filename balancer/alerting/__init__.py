"""What is wrong is told to people, once, and when it is over, too."""
