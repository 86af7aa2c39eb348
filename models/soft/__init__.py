"""Soft compressors: segments of text in, latents for a decoder's embedding space out."""
