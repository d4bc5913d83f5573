"""Chapter 8: the comparison: right answers, and every mistake."""

RIGHT = {}
WRONG = {}
ELSEWHERE = {}
