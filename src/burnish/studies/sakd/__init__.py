"""Easy and diverse subsets, adaptive strength and their rivals, at equal cost, in worlds where something could be won."""
