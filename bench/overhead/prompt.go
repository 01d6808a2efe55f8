package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

// source is n bytes of something like source code.
func source(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "def method_%d(self, value, *, limit=%d):\n    \"\"\"Return the value, at most the limit.\"\"\"\n    return min(value, limit) if value > 0 else None\n\n", i, i*7)
	}
	return b.String()[:n]
}

var prompts atomic.Int64

// another is a prompt of the same length that nobody has sent before.
func another(prompt string) string {
	n := strconv.FormatInt(prompts.Add(1), 36) + "\n"
	return n + prompt[min(len(n), len(prompt)):]
}
