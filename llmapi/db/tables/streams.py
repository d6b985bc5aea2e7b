"""What running and lately ended streams said, for those who come back."""
