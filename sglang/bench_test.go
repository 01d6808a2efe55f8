package sglang

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// benchmarkCall is a batch of 16 prompts of 8 KiB of source code, or of 2,048 ids.
func benchmarkCall(ids bool) Call {
	text := strings.Repeat("def method_11(self, value, *, limit=7):\n    \"\"\"At most the limit.\"\"\"\n    return min(value, limit) "+
		"if value > 0 else None\n\n", 66)
	var call Call
	for range 16 {
		r := Request{RID: NewRID(), Text: text}
		if ids {
			r.Text, r.InputIDs = "", make([]int32, 2048)
			for i := range r.InputIDs {
				r.InputIDs[i] = int32(i * 70)
			}
		}
		call.Requests = append(call.Requests, r)
	}
	return call
}

// plainCall is a call as json/v2 writes it.
type plainCall struct {
	Text     []string       `json:"text,omitempty"`
	InputIDs [][]int32      `json:"input_ids,omitempty"`
	RID      []string       `json:"rid"`
	Sampling []samplingJSON `json:"sampling_params"`
	Stream   bool           `json:"stream"`
}

func plain(call Call) (p plainCall) {
	for _, r := range call.Requests {
		if r.Text != "" {
			p.Text = append(p.Text, r.Text)
		} else {
			p.InputIDs = append(p.InputIDs, r.InputIDs)
		}
		p.RID, p.Sampling = append(p.RID, r.RID), append(p.Sampling, samplingJSON{})
	}
	return p
}

// perPrompt reports the time of one of the prompts of each call.
func perPrompt(b *testing.B, call Call) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(call.Requests)), "ns/prompt")
}

func BenchmarkEncode(b *testing.B) {
	for name, ids := range map[string]bool{"texts": false, "ids": true} {
		call := benchmarkCall(ids)
		b.Run(name+"/here", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				body, err := encode(call)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(body)))
			}
			perPrompt(b, call)
		})
		b.Run(name+"/jsonv2", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				data, err := json.Marshal(plain(call))
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(data)))
			}
			perPrompt(b, call)
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	call := benchmarkCall(false)
	list := make([]string, len(call.Requests))
	for i, r := range call.Requests {
		list[i] = answered(r.RID)
	}
	withLogprobs := "[" + strings.Join(list, ",") + "]"
	const logprobs = `"input_token_logprobs": [[null, 5, null], [-1.5e-3, 7, "é"]], "output_token_logprobs": [[-0.25, 79735, null]], `
	for name, data := range map[string]string{"logprobs": withLogprobs, "plain": strings.ReplaceAll(withLogprobs, logprobs, "")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := call.decodeResults([]byte(data)); err != nil {
					b.Fatal(err)
				}
			}
			perPrompt(b, call)
		})
	}
}
