// Package plausibility says whether a prefill throughput can be true: a device can
// compute only so much a second, and read its memory only so fast, and whoever claims
// more did not wait for the answers or did not compute them.
//
// The floor is the least time that the arithmetic allows. It leaves out what it can
// (attention, the vocabulary, the network, scheduling), so that what it calls
// impossible is; what it calls plausible may still be wrong.
package plausibility
