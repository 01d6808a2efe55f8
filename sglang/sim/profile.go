package sim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// Profile describes a simulated server: the cost of its work, and its limits.
//
// One call of k prompts takes the front end CallSeconds + k·RequestSeconds, and ListSeconds
// if k is above 1. A forward of them takes the scheduler k·ScheduleSeconds + LaunchSeconds +
// AloneSeconds/k. The device begins with the launch. For
// prompts of n tokens, u of them all uncached, it takes ForwardSeconds + u·TokenSeconds +
// k·n²·AttentionSeconds. What the front end does meanwhile for other calls lengthens the
// forward where Contention is above 0.
type Profile struct {
	Name   string `json:"name"`
	Device string `json:"device"`
	Model  string `json:"model"`
	Origin string `json:"origin"` // where the numbers come from

	CallSeconds            float64 `json:"call_seconds"`              // a: front end, for each HTTP call
	RequestSeconds         float64 `json:"request_seconds"`           // b: front end, for each prompt
	TokenizeSecondsPerByte float64 `json:"tokenize_seconds_per_byte"` // front end, for text; none for ids
	ListSeconds            float64 `json:"list_seconds"`              // front end, for each call of several prompts
	Tokenizers             int     `json:"tokenizers"`                // processes of the front end (--tokenizer-worker-num); 0 means 1

	// The scheduler's own work on a forward. While the device computes, the scheduler
	// launches the next. LaunchSeconds 0 means that the device is the CPU: it computes one
	// forward after another.
	LaunchSeconds   float64 `json:"launch_seconds"`   // for each forward
	AloneSeconds    float64 `json:"alone_seconds"`    // for each forward, divided by its prompts
	ScheduleSeconds float64 `json:"schedule_seconds"` // for each prompt in a forward

	TokenSeconds   float64 `json:"token_seconds"`   // c: device, for each uncached token
	ForwardSeconds float64 `json:"forward_seconds"` // d: device, for each forward

	// Device, for each prompt in a forward and the square of its tokens so far, cached
	// ones included. It is above 0 if attention gains nothing from the cache
	// (torch_native).
	AttentionSeconds float64 `json:"attention_seconds"`

	// Seconds added to a forward for each second that the front end works meanwhile, at
	// most doubling it: 0 if they share no cores, about 1 if each could use all.
	Contention float64 `json:"contention"`

	// The device computes as many tokens as the next larger CUDA graph was captured for.
	PrefillGraphs bool `json:"prefill_graphs"`

	ChunkedPrefillSize int     `json:"chunked_prefill_size"` // tokens in one forward
	MaxPrefillTokens   int     `json:"max_prefill_tokens"`   // a second bound on tokens in one forward; 0 means 16384, SGLang's default
	MaxRunningRequests int     `json:"max_running_requests"`
	KVCacheTokens      int     `json:"kv_cache_tokens"`
	ContextLength      int     `json:"context_length"` // tokens
	VocabSize          int     `json:"vocab_size"`
	LoadSeconds        float64 `json:"load_seconds"` // model load time it reports
	Embedding          bool    `json:"embedding"`    // the model embeds and classifies, and does not generate
}

// Profiles returns the built-in profiles.
func Profiles() []Profile {
	return []Profile{
		{
			Name: "h100-qwen2.5-7b", Device: "NVIDIA H100 80GB (simulated)", Model: "R2EGym-7B-Agent (Qwen2.5-Coder 7B)",
			Origin: "fitted to one H100 with SGLang 0.5.17 at its defaults and dummy weights, 2026-11-27: " +
				"with 64 callers, cold first turns are off by 10 % at most, warm ones, rollouts and scores by 20 %",
			CallSeconds: 0.0012, RequestSeconds: 0.0007, ListSeconds: 0.002, TokenizeSecondsPerByte: 0.8e-6,
			LaunchSeconds: 0.007, AloneSeconds: 0.0099, ScheduleSeconds: 0.0008,
			TokenSeconds: 21.3e-6, ForwardSeconds: 0.005, AttentionSeconds: 3.8e-11, PrefillGraphs: true,
			ChunkedPrefillSize: 8192, MaxRunningRequests: 2048, KVCacheTokens: 952_093, ContextLength: 32768, VocabSize: 152_064,
			LoadSeconds: 0.13, // of dummy weights
		},
		{
			Name: "cpu-tiny-qwen2", Device: "2-core CPU (simulated)", Model: "tiny random Qwen2",
			Origin: "fitted by loadgen calibrate to SGLang 0.5.23 serving a tiny random model on 2 CPU cores (torch_native attention): the mean " +
				"of two calibrations, before and after a sweep, of 170 and 102 calls of up to 2,048 tokens; " +
				"whole calls are off by 13 and 12 % on average",
			CallSeconds: 0.00459, RequestSeconds: 0.000664, TokenizeSecondsPerByte: 913e-9,
			TokenSeconds: 6.39e-6, ForwardSeconds: 0.0115, ScheduleSeconds: 0.00057, AttentionSeconds: 5.87e-9, Contention: 0.712,
			ChunkedPrefillSize: 4096, MaxRunningRequests: 32, KVCacheTokens: 1_000_000, ContextLength: 32768, VocabSize: 151_936,
			LoadSeconds: 0.2,
		},
	}
}

// ProfileNamed returns the built-in profile of that name.
func ProfileNamed(name string) (Profile, error) {
	var known []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		known = append(known, p.Name)
	}
	return Profile{}, fmt.Errorf("profile %q is not known: expected %s, or a JSON file", name, strings.Join(known, ", "))
}

// ReadProfile reads a profile from a JSON file and validates it. It refuses unknown fields,
// so that a misspelt one is not silently zero.
func ReadProfile(path string) (Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return Profile{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	var p Profile
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	if err = d.Decode(&p); err == nil {
		err = p.Validate()
	}
	if err != nil {
		return Profile{}, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// Validate returns an error that names the first field out of range, or nil.
func (p Profile) Validate() error {
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"call_seconds", p.CallSeconds}, {"request_seconds", p.RequestSeconds}, {"token_seconds", p.TokenSeconds},
		{"forward_seconds", p.ForwardSeconds}, {"attention_seconds", p.AttentionSeconds},
		{"list_seconds", p.ListSeconds}, {"launch_seconds", p.LaunchSeconds}, {"alone_seconds", p.AloneSeconds},
		{"schedule_seconds", p.ScheduleSeconds}, {"tokenize_seconds_per_byte", p.TokenizeSecondsPerByte},
		{"load_seconds", p.LoadSeconds}, {"contention", p.Contention},
	} {
		if !(f.value >= 0 && f.value < 3600) {
			return fmt.Errorf("%s: must be from 0 to 3600, got %v", f.name, f.value)
		}
	}
	for _, f := range []struct {
		name       string
		value, min int
	}{
		{"chunked_prefill_size", p.ChunkedPrefillSize, 1}, {"max_running_requests", p.MaxRunningRequests, 1},
		{"kv_cache_tokens", p.KVCacheTokens, 16}, {"context_length", p.ContextLength, 16}, {"vocab_size", p.VocabSize, 256},
		{"max_prefill_tokens", p.MaxPrefillTokens, 0}, {"tokenizers", p.Tokenizers, 0},
	} {
		if f.value < f.min {
			return fmt.Errorf("%s: must be at least %d, got %d", f.name, f.min, f.value)
		}
	}
	return nil
}

// GraphTokens returns how many tokens the device computes for so many new ones (sglang
// 0.5.23, generate_prefill_cuda_graph_batch_sizes).
func (p Profile) GraphTokens(n int) int {
	if !p.PrefillGraphs || n > p.ChunkedPrefillSize {
		return n
	}
	step := 512
	for _, s := range []struct{ to, step int }{{32, 4}, {256, 16}, {512, 32}, {1024, 64}, {4096, 256}} {
		if n <= s.to {
			step = s.step
			break
		}
	}
	return (n + step - 1) / step * step
}

// maxPrefillTokens returns MaxPrefillTokens or its default.
func (p Profile) maxPrefillTokens() int { return cmp.Or(p.MaxPrefillTokens, 16384) }

// forwardTokens returns the max tokens that one forward computes.
func (p Profile) forwardTokens() int { return min(p.ChunkedPrefillSize, p.maxPrefillTokens()) }

// maxReqInputLen is the length of the shortest prompt that is refused: SGLang keeps seven
// positions of the context back (measured: of 2048, it says 2042 and takes 2041).
func (p Profile) maxReqInputLen() int { return min(p.ContextLength, p.KVCacheTokens) - 6 }
