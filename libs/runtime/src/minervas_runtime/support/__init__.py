"""What the commands `doctor` and `support-bundle` of all programs share."""
