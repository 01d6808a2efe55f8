// Package sim is a simulator of SGLang 0.5.23 behind SGLang's own HTTP interface: the
// embedded default of loadgen and a test double for the proxy.
//
// It simulates what decides the throughput of prefill. A front end of single-threaded
// processes costs time for each call, each prompt and each byte of text. A scheduler takes
// what waits, up to chunked_prefill_size tokens a forward, and launches it, on a GPU while
// the device still computes the forward before. A device costs time for each forward and
// each uncached token. A radix prefix cache of bounded size shares a new prefix only after the
// forward that computed it. The simulator computes no model: it makes generated tokens and
// log probabilities from hashes, and cuts text into about as many tokens as Qwen's tokenizer
// (see tokens.go).
//
// It never pretends to be real: /server_info names the profile and its origin. Inputs that
// stop a real server stop this one too: an empty prompt, ids outside the vocabulary, numbers
// that overflow, more log probabilities than there are tokens (deadly in crash_test.go has
// all). 0.5.23 itself refuses ids in logit_bias and token_ids_logprob; this one stops, so
// that no test relies on it. Every call under way is dropped and the cache is lost. It serves
// again at once, where a real one has to be started again. Stats counts these crashes and
// keeps its other counters.
//
// It does not simulate the order of --schedule-policy lpm, several answers to a prompt (n above 1 is refused), a streamed event
// for each token (there is one for each prompt), the cost of generation for prefill, cache
// levels in host memory and storage, and routes that neither the proxy nor loadgen uses.
//
// Read profile.go first, then server.go, scheduler.go and radix.go. generate.go and
// sampling.go read a call, refusal.go knows how one is refused, reply.go answers,
// endpoints.go has the other routes. Package dialect translates
// OpenAI's and Vertex's paths, and those that score, embed or classify.
package sim
