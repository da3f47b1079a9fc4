"""Questions with checkable answers, with and without pictures: rows, readers, rewards, image-text models."""
