package sglang

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answered is an element as sglang 0.5.23 writes it.
func answered(rid string) string {
	return `{"text": " W\u00e9\n", "output_ids": [79735], "meta_info": {"id": "` + rid + `", "finish_reason": {"type": "length", "length": 1}, ` +
		`"prompt_tokens": 2001, "weight_version": "default", "num_retractions": 0, "storage_prefetch_wait": 0.0, "forward_entry_time": 1795432008.5720716, ` +
		`"queue_time": 0.00035602800016931724, "completion_tokens": 1, "cached_tokens": 64, "weight_versions": [{"version": "default", "start": 0, "end": 1}], ` +
		`"cached_tokens_details": {"device": 64, "host": 0}, "dp_rank": null, "input_token_logprobs": [[null, 5, null], [-1.5e-3, 7, "é"]], ` +
		`"output_token_logprobs": [[-0.25, 79735, null]], "e2e_latency": 0.01491576399985206}}`
}

func sameItems(t *testing.T, data []byte, requests []Request) (scanned bool) {
	t.Helper()
	got, ok := scanItems(data, requests)
	if !ok {
		return false
	}
	want, err := unmarshalItems(data, requests)
	if err != nil {
		t.Fatalf("scanned as %+v, which encoding/json refuses: %v", got, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("scanned differently from encoding/json (-want +got):\n%s", diff)
	}
	return true
}

func TestWhatSGLangAnswersIsScannedAsEncodingJSONReadsIt(t *testing.T) {
	for _, keepRaw := range []bool{false, true} {
		requests := two().Requests
		requests[1].KeepRaw = keepRaw
		for _, data := range []string{
			"[" + answered("aa") + "," + answered("bb") + "]",
			" [ " + answered("bb") + " ,\n" + answered("aa") + " ] ",
			"[" + element("aa", 1) + "," + element("bb", 2) + "]",
			`[{"meta_info":{"id":"aa","finish_reason":{"type":"abort","message":"m","status_code":null}}},{"error":{"message":"m","code":"400"}}]`,
			`[{"output_ids":[]},{"output_ids":[0, -1,2147483647,-2147483648 ,null]}]`,
		} {
			if !sameItems(t, []byte(data), requests) {
				t.Errorf("%s was left to encoding/json", data)
			}
		}
	}
}

func TestWhatIsOutOfTheOrdinaryIsLeftToEncodingJSON(t *testing.T) {
	for _, data := range []string{
		``, `null`, `{}`, `[]]`, `[null]`, `[{}`, `[{},]`, `[{"text":"a"]`, `[{"text":1}]`, `[{"text":"` + "\xff" + `"}]`, "[{\"text\":\"\n\"}]",
		`[{"Text":"a"}]`, `[{"t\u0065xt":"a"}]`, `[{"text":"a","text":"b"}]`, `[{"meta_info":{"prompt_tokens":01}}]`, `[{"meta_info":{"prompt_tokens":1.5}}]`,
		`[{"meta_info":{"prompt_tokens":99999999999999999999}}]`, `[{"meta_info":{"queue_time":"1"}}]`, `[{"meta_info":{"queue_time":1e999}}]`, `[{"meta_info":{"queue_time":true}}]`,
		`[{"output_ids":[2147483648]}]`, `[{"output_ids":[-2147483649]}]`, `[{"output_ids":[1.5]}]`, `[{"output_ids":["1"]}]`, `[{"output_ids":[1,]}]`, `[{"output_ids":7}]`,
		`[{"x":nul}]`, `[{"x":[1,}]`, `[{"x":"\x"}]`, `[{},{},{}]`,
		`[{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}]`,
	} {
		if items, ok := scanItems([]byte(data), two().Requests); ok {
			t.Errorf("%s was scanned as %+v", data, items)
		}
	}
}

func FuzzWhatIsScannedIsAsEncodingJSONReadsIt(f *testing.F) {
	f.Add([]byte("[" + answered("aa") + "," + answered("bb") + "]"))
	f.Add([]byte("[" + element("aa", 1) + "]"))
	f.Add([]byte(`[{"error":{"message":"m","code":400}},{"error":null,"output_ids":null,"meta_info":{"finish_reason":null}}]`))
	f.Add([]byte(`[{"text":"\ud800","meta_info":{"finish_reason":{"length":null,"status_code":null},"prompt_tokens":-0,"cached_tokens":1e2}}]`))
	f.Fuzz(func(t *testing.T, data []byte) { sameItems(t, data, two().Requests) })
}

func BenchmarkDecodeList(b *testing.B) {
	call := benchmarkCall(false)
	list := make([]string, len(call.Requests))
	for i, r := range call.Requests {
		list[i] = answered(r.RID)
	}
	data := []byte("[" + strings.Join(list, ",") + "]")
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := decodeResults(data, call.Requests); err != nil {
			b.Fatal(err)
		}
	}
}
