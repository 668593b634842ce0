"""What is minimised: named functions whose arguments bear the names of batch fields and network results."""
