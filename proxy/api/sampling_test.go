package api

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// samplingNames are SGLang's names of the contract's sampling parameters, where they
// differ.
var samplingNames = map[protoreflect.Name]string{"seed": "sampling_seed"}

// A parameter that is added to the contract must be sent, and be a number that JSON can
// carry. Package upstream holds that it tells prompts apart.
func TestEverySamplingParameterIsSentAndItsNumberChecked(t *testing.T) {
	fields := new(pb.SamplingParams).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		t.Run(string(field.Name()), func(t *testing.T) {
			sent := sentSampling(t, withField(field, 0.5, 1))
			name := string(field.Name())
			if other, differs := samplingNames[field.Name()]; differs {
				name = other
			}
			if _, there := sent[name]; !there {
				t.Errorf("%s is not sent: %v", name, sent)
			}
			if _, err := validate(request(withField(field, math.NaN(), 1)), known); isFloat(field) && err == nil {
				t.Error("NaN passes")
			}
		})
	}
}

func isFloat(field protoreflect.FieldDescriptor) bool {
	if field.IsMap() {
		field = field.MapValue()
	}
	return field.Kind() == protoreflect.FloatKind
}

// withField returns parameters with one field set, to number or to whole by its kind.
func withField(field protoreflect.FieldDescriptor, number float64, whole int64) *pb.SamplingParams {
	p := new(pb.SamplingParams)
	m := p.ProtoReflect()
	value := func(kind protoreflect.Kind) protoreflect.Value {
		switch kind {
		case protoreflect.FloatKind:
			return protoreflect.ValueOfFloat32(float32(number))
		case protoreflect.Int32Kind:
			return protoreflect.ValueOfInt32(int32(whole))
		case protoreflect.Int64Kind:
			return protoreflect.ValueOfInt64(whole)
		default:
			panic("a kind that this test does not know: " + kind.String())
		}
	}
	if field.IsMap() {
		m.Mutable(field).Map().Set(protoreflect.ValueOfInt32(7).MapKey(), value(field.MapValue().Kind()))
	} else {
		m.Set(field, value(field.Kind()))
	}
	return p
}

func request(p *pb.SamplingParams) *pb.PrefillRequest {
	return &pb.PrefillRequest{Text: "a", MaxNewTokens: 1, SamplingParams: proto.Clone(p).(*pb.SamplingParams)}
}

func prompt(t *testing.T, p *pb.SamplingParams) *upstream.Prompt {
	t.Helper()
	out, err := validate(request(p), known)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sentSampling returns the sampling_params that SGLang gets for a request.
func sentSampling(t *testing.T, p *pb.SamplingParams) map[string]any {
	t.Helper()
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer server.Close()
	client, err := sglang.NewClient(server.URL, sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdle()
	r := prompt(t, p).Request
	r.RID = sglang.NewRID()
	_, _ = client.Generate(t.Context(), sglang.Call{Requests: []sglang.Request{r}})
	var call struct {
		Sampling []map[string]any `json:"sampling_params"`
	}
	if err := json.Unmarshal(body, &call); err != nil || len(call.Sampling) != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	return call.Sampling[0]
}
