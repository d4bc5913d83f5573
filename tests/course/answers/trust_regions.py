"""Chapter 7: trust regions: right answers, and every mistake."""

RIGHT = {}
WRONG = {}
ELSEWHERE = {}
