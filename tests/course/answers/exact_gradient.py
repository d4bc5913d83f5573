"""Chapter 1: the gradient you can compute: right answers, and every mistake."""

RIGHT = {}
WRONG = {}
ELSEWHERE = {}
