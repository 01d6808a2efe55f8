package sglang

import (
	"strings"
	"testing"
)

// benchmarkCall is a batch of 16 prompts of 8 KiB of source code.
func benchmarkCall(ids bool) Call {
	text := strings.Repeat("\tif err := f(\"x\"); err != nil {\n\t\treturn err\n\t}\n", 171)
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

func BenchmarkEncodeTextList(b *testing.B)  { benchmarkEncode(b, benchmarkCall(false)) }
func BenchmarkEncodeTokenList(b *testing.B) { benchmarkEncode(b, benchmarkCall(true)) }

func benchmarkEncode(b *testing.B, call Call) {
	b.ReportAllocs()
	for b.Loop() {
		body := newBody()
		if err := body.encode(call, false); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(body.data)))
		body.release()
	}
}
