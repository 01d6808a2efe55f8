package sglang

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// answered is an element as sglang 0.5.23 writes it.
func answered(rid string) string {
	return `{"text": " W\u00e9\n", "output_ids": [79735], "meta_info": {"id": "` + rid + `", "finish_reason": {"type": "length", ` +
		`"length": 1}, ` +
		`"prompt_tokens": 2001, "weight_version": "default", "num_retractions": 0, "storage_prefetch_wait": 0.0, "forward_entry_time": ` +
		`1795432008.5720716, ` +
		`"queue_time": 0.00035602800016931724, "completion_tokens": 1, "cached_tokens": 64, "weight_versions": [{"version": "default", ` +
		`"start": 0, "end": 1}], ` +
		`"cached_tokens_details": {"device": 64, "host": 0}, "dp_rank": null, "input_token_logprobs": [[null, 5, null], [-1.5e-3, 7, "é"]], ` +
		`"output_token_logprobs": [[-0.25, 79735, null]], "e2e_latency": 0.01491576399985206}}`
}

func TestWhatSGLangAnswersIsReadWhole(t *testing.T) {
	for _, keepRaw := range []bool{false, true} {
		requests := two().Requests
		requests[1].KeepRaw = keepRaw
		requests[0].Logprobs = new(LogprobOptions)
		results, err := (&Call{Requests: requests}).decodeResults([]byte(" [ " + answered("bb") + " ,\n" + answered("aa") + " ] "))
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range requests {
			one, first, last, text := 1, -1.5e-3, -0.25, "é"
			want := Answer{Text: " Wé\n", OutputIDs: []int32{79735}, Meta: MetaInfo{
				ID: r.RID, FinishReason: &FinishReason{Type: "length", Length: &one}, PromptTokens: 2001, CompletionTokens: 1, CachedTokens: 64,
				CachedTokensDetails: &CachedDetails{Device: 64}, WeightVersion: "default",
				QueueTime: 0.00035602800016931724, E2ELatency: 0.01491576399985206,
				InputTokenLogprobs:  []TokenLogprob{{ID: 5}, {Logprob: &first, ID: 7, Text: &text}},
				OutputTokenLogprobs: []TokenLogprob{{Logprob: &last, ID: 79735}},
			}}
			if keepRaw {
				want.Raw = []byte(answered(r.RID))
			}
			if diff := cmp.Diff(want, results[i].Answer); diff != "" || results[i].Err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", r.RID, results[i].Err, diff)
			}
		}
	}
}

func TestWhatIsOutOfTheOrdinaryIsRead(t *testing.T) {
	for _, element := range []string{
		`{"meta_info":{"id":"aa","prompt_tokens":7},"text":"` + "\xff" + `"}`, // no UTF-8
		`{"meta_info":{"id":"zz","prompt_tokens":1},"meta_info":{"id":"aa","prompt_tokens":7}}`,
		`{"meta_info":{"id":"aa","prompt_tokens":7,"cached_tokens":null,"output_ids":null,"queue_time":null,"finish_reason":null},"error":null}`,
		`{"meta_info":{"id":"aa","prompt_tokens":7},"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
	} {
		requests := two().Requests[:1]
		results, err := (&Call{Requests: requests}).decodeResults([]byte("[" + element + "]"))
		if err != nil || results[0].Answer.Meta.PromptTokens != 7 {
			t.Errorf("%s: %+v, %v", element, results, err)
		}
	}
}

func TestWhatIsMalformedIsRefused(t *testing.T) {
	for _, data := range []string{
		``, `null`, `{}`, `[]]`, `[{}`, `[{},]`, `[{"text":"a"]`, `[{"text":1}]`, "[{\"text\":\"\n\"}]",
		`[{"meta_info":{"prompt_tokens":01}}]`, `[{"meta_info":{"prompt_tokens":1.5}}]`, `[{"meta_info":{"prompt_tokens":99999999999999999999}}]`,
		`[{"meta_info":{"queue_time":"1"}}]`, `[{"meta_info":{"queue_time":1e999}}]`, `[{"meta_info":{"queue_time":true}}]`,
		`[{"output_ids":[2147483648]}]`, `[{"output_ids":[-2147483649]}]`, `[{"output_ids":[1.5]}]`,
		`[{"output_ids":["1"]}]`, `[{"output_ids":[1,]}]`, `[{"output_ids":7}]`,
		`[{"meta_info":{"input_token_logprobs":[[1]]}}]`, `[{"meta_info":{"input_token_logprobs":[[1,2,null,` +
			`4]]}}]`, `[{"meta_info":{"input_token_logprobs":[null]}}]`,
		`[{"x":nul}]`, `[{"x":[1,}]`, `[{"x":"\x"}]`, `[{},{},{}]`,
	} {
		for _, keepRaw := range []bool{false, true} {
			call := Call{Requests: []Request{{KeepRaw: keepRaw}}}
			if results, err := call.decodeResults([]byte(data)); err == nil && results[0].Err == nil {
				t.Errorf("%s was read as %+v", data, results)
			}
		}
	}
}

// impossible are the insides of answers that can't be true of a prompt in a context of 100
// tokens whose caller asked for one likeliest token and for one chosen.
var impossible = []string{
	`"prompt_tokens":-1`, `"prompt_tokens":101`, `"prompt_tokens":1e999`, `"prompt_tokens":9223372036854775808`, `"prompt_tokens":"5"`,
	`"prompt_tokens":5,"cached_tokens":-1`, `"prompt_tokens":5,"cached_tokens":6`, `"prompt_tokens":5,"cached_tokens":9223372036854775807`,
	`"completion_tokens":-1`, `"completion_tokens":101`, `"completion_tokens":-9223372036854775808`, `"completion_tokens":1.5`,
	`"queue_time":1e999`, `"e2e_latency":-1e999`, `"finish_reason":7`,
	`"prompt_tokens":1,"input_token_logprobs":[[-1,5,null],[-1,5,null]]`,
	`"prompt_tokens":2,"input_token_logprobs":[[-1,5,null],[-1,5,null]],"input_top_logprobs":[[]]`,
	`"prompt_tokens":2,"input_token_logprobs":[[-1,5,null]],"input_token_ids_logprobs":[[],[]]`,
	`"prompt_tokens":2,"input_token_logprobs":[[-1,5,null]],"input_top_logprobs":[[[-1,5,null],[-1,6,null]]]`,
	`"prompt_tokens":2,"input_token_logprobs":[[-1,5,null]],"input_token_ids_logprobs":[[[-1,5,null],[-1,6,null]]]`,
	`"prompt_tokens":2,"input_token_logprobs":[[-1e999,5,null]]`, `"prompt_tokens":2,"input_token_logprobs":[[-1,-5,null]]`,
	`"prompt_tokens":2,"input_token_logprobs":[[-1,2147483648,null]]`, `"prompt_tokens":2,"input_token_logprobs":[-1]`,
	`"completion_tokens":1,"output_token_logprobs":[[-1,5,null],[-1,5,null],[-1,5,null]]`,
	`"completion_tokens":0,"output_top_logprobs":[[],[]]`, `"completion_tokens":0,"output_token_ids_logprobs":[[[-1,99999999999,null]]]`,
	`"completion_tokens":1},"output_ids":[-1],"x":{"y":1`, `"completion_tokens":1},"output_ids":[2147483648],"x":{"y":1`,
	`"completion_tokens":1},"output_ids":[1e999],"x":{"y":1`,
}

func TestAnAnswerThatCantBeTrueFailsItsRequestAlone(t *testing.T) {
	call := two()
	call.Context = 100
	call.Requests[0].Logprobs = &LogprobOptions{TopK: 1, TokenIDs: []int32{5}}
	for _, inside := range impossible {
		bad, good := `{"text":"","meta_info":{"id":"aa","finish_reason":{"type":"length"},`+inside+`}}`, element("bb", 100)
		results, err := call.decodeResults([]byte("[" + bad + "," + good + "]"))
		var e *Error
		if err != nil || len(results) != 2 || !errors.As(results[0].Err, &e) || e.Kind != KindProtocol ||
			results[1].Err != nil || results[1].Answer.Meta.PromptTokens != 100 {
			t.Errorf("%s: %+v, %v", inside, results, err)
		} else if got := results[0].Answer; got.Meta.PromptTokens != 0 || got.OutputIDs != nil {
			t.Errorf("%s: of the answer remains %+v", inside, got)
		}
	}
}

// An unknown context still bounds what is believed.
func TestAnAnswerOfMoreTokensThanAnyContextIsRefused(t *testing.T) {
	call := Call{Requests: two().Requests[:1]}
	for tokens, believed := range map[int]bool{maxContext: true, maxContext + 1: false} {
		results, err := call.decodeResults([]byte("[" + element("aa", tokens) + "]"))
		if err != nil || (results[0].Err == nil) != believed {
			t.Errorf("%d: %+v, %v", tokens, results, err)
		}
	}
}
