// Package stats holds the little statistics that a report of few repeats can
// honestly use: how a sample is spread (summary.go), how certain its median is
// (bootstrap.go), and whether two samples differ by more than chance
// (permutation.go).
//
// All functions are pure: none changes its arguments, and equal arguments give
// equal results, also where random numbers are drawn (their seed is fixed).
// Samples hold finite numbers.
package stats
