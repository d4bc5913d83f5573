"""Chapter 3: baselines: right answers, and every mistake."""

RIGHT = {}
WRONG = {}
ELSEWHERE = {}
