"""Trajectories: what they are, and how they are collected."""
