"""Easy and diverse subsets, adaptive strength and their rivals at equal cost, where something could be won."""
