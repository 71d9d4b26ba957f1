"""NetworkPolicy: what it says, the security groups that say the same, and two independent judges of both."""
