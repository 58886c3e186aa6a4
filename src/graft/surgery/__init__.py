"""Surgery: changes of the network itself, each the identity where it is made."""
