// Package costs compares the simulator's default profile with the H100 that it was fitted to.
// foreign_test.go measures what SGLang computes twice when others change its cache. The
// package holds only tests:
//
//	go test -v ./bench/costs
//
// prints the simulated requests/s of every row beside the real ones, as docs/benchmarks.md
// has them. It sends each workload through the batcher to the simulator in virtual time, so
// it prints the same on every machine.
//
// They take minutes under the race detector, which finds nothing here that the tests of batcher
// and sglang/sim do not show it, so they are not built for it.
package costs
