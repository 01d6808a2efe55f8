package api

import (
	"github.com/go-json-experiment/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// As sglang 0.5.23 answered, cut to what is read.
const scored = `{"text":" next","output_ids":[101184],"meta_info":{"id":"04e9688539224f368a15cf469ed038f6",
"finish_reason":{"type":"stop"},"prompt_tokens":2,"completion_tokens":1,"cached_tokens":1,
"input_token_logprobs":[[null,64,null],[-11.5,293,null]],
"input_top_logprobs":[null,[[-1.5,7,null]]],
"output_token_logprobs":[[-12.5,101184,null]],
"output_token_ids_logprobs":[[[-3.5,9," yes"]]]}}`

func TestAReplyHoldsTheLogProbabilitiesThatWereAskedFor(t *testing.T) {
	a := new(upstream.Answer)
	if err := json.Unmarshal([]byte(scored), &a.Answer); err != nil {
		t.Fatal(err)
	}
	got := reply("mine", true, a, nil)
	want := &pb.PrefillResponse{
		RequestId: "mine", PromptTokens: 2, CachedTokens: 1, CompletionTokens: 1,
		FinishReason: pb.FinishReason_FINISH_REASON_STOP,
		FirstToken:   &pb.Token{Id: 101184, Text: " next", Logprob: proto.Float64(-12.5)},
		Logprobs: &pb.Logprobs{
			Prompt: []*pb.TokenLogprobs{
				{Token: &pb.Token{Id: 64}},
				{Token: &pb.Token{Id: 293, Logprob: proto.Float64(-11.5)}, Top: []*pb.Token{{Id: 7, Logprob: proto.Float64(-1.5)}}},
			},
			Completion: []*pb.TokenLogprobs{{
				Token:  &pb.Token{Id: 101184, Logprob: proto.Float64(-12.5)},
				Chosen: []*pb.Token{{Id: 9, Text: " yes", Logprob: proto.Float64(-3.5)}},
			}},
		},
	}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Error(d)
	}
	if plain := reply("", false, a, nil); plain.GetLogprobs() != nil || plain.GetRequestId() != a.Meta.ID {
		t.Errorf("not asked for: got %v", plain)
	}
}

func TestAtNoNewTokensOnlyWhatCouldFollowIsAnswered(t *testing.T) {
	p := positions(nil, [][]sglang.TokenLogprob{{{ID: 3}}}, nil)
	if len(p) != 1 || p[0].GetToken() != nil || p[0].GetTop()[0].GetId() != 3 {
		t.Fatalf("got %v", p)
	}
}
