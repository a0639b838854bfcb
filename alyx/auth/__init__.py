"""Credentials -> an identity. Accounts, sessions and sign-in come with the next release; tokens are verified already."""
