// Package sim is a simulator of SGLang 0.5.23 behind SGLang's own HTTP
// interface: the embedded default of loadgen and a test double for the proxy.
//
// It simulates what decides the throughput of prefill: a single-threaded front
// end that costs time for each call, each prompt and each byte of text; a
// scheduler that takes what waits, up to chunked_prefill_size tokens a forward;
// a device whose forwards cost time for themselves and for each uncached token;
// and a radix prefix cache of bounded size, in which a new prefix can be shared
// only after the forward that computed it. It computes no model: generated
// tokens and log probabilities are made from hashes, and text is cut into
// tokens only about as Qwen's tokenizer would (see tokens.go).
//
// It never pretends to be real: /server_info names the profile and its origin.
// Inputs that stop a real server (an empty prompt, ids outside the vocabulary)
// stop this one too: every call under way is dropped, the cache is lost, and it
// serves again at once, where a real one has to be started again. Stats counts
// these crashes and keeps its other counters.
//
// Not simulated: several answers a prompt (n above 1 is refused), one streamed
// event for each token (there is one for each prompt), what generation takes
// from prefill, host memory and storage behind the cache, and the routes that
// neither the proxy nor loadgen uses.
//
// Read profile.go first, then scheduler.go and radix.go. generate.go and
// sampling.go read a call, refusal.go knows how one is refused, reply.go and
// stream.go answer.
package sim
