package server

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
)

func TestTheProxyFollowsSGLangThroughARestart(t *testing.T) {
	f := newFake(t)
	f.stop()
	r := startUnready(t, f, nil)
	await(t, "SGLang has been asked", func() bool { return r.upstream.state().asked })
	_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"})
	s := status.Convert(err)
	if s.Code() != codes.Unavailable || retryAfter(s) == 0 || !strings.Contains(s.Message(), "can't be reached") {
		t.Errorf("without SGLang: %v", err)
	}

	f.start()
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	since := time.Now()
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); err != nil {
		t.Errorf("with SGLang: %v", err)
	}

	f.stop()
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); status.Code(err) != codes.Unavailable {
		t.Errorf("SGLang gone: %v", err)
	}
	r.awaitHealth(healthpb.HealthCheckResponse_NOT_SERVING)
	if d := time.Since(since); d >= thereInterval {
		t.Errorf("the failed call told the watch nothing: %v", d)
	}

	f.setInfo("served_model_name", "another")
	f.setInfo("simulator", map[string]any{"vocab_size": 5})
	f.start()
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	if s := r.upstream.state(); s.model() != "another" || s.limits.vocabSize != 5 {
		t.Errorf("after the restart: %+v", s)
	}
}

// A server that was away only shortly is never seen away, only by a call.
func TestALostCallMakesTheProxyAskWhatIsServedNow(t *testing.T) {
	f := newFake(t)
	r := start(t, f, nil)
	f.setInfo("served_model_name", "another")
	f.mu.Lock()
	f.refuse = func(fakeCall) (int, string, bool) { panic(http.ErrAbortHandler) }
	f.mu.Unlock()
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	await(t, "the new model is known", func() bool { return r.upstream.state().model() == "another" })
}

func TestThePromptLimitFollowsFromTheCacheWhereNoOtherIsTold(t *testing.T) {
	f := newFake(t)
	f.setInfo("max_req_input_len", 0)
	if l := start(t, f, nil).upstream.state().limits; l.maxPromptTokens != 5000-contextReserve {
		t.Errorf("%+v", l)
	}
}

// A suspicion that was left over made the proxy ask again what is served, and forget
// anew what had been cached meanwhile.
func TestASuspicionOfBeforeSGLangCameBackIsAnsweredByItsReturn(t *testing.T) {
	f := newFake(t)
	client, err := sglang.NewClient(f.url(), sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdle()
	found, log := 0, slog.New(slog.DiscardHandler)
	u := newUpstream(client, 0, &encoders{config: TokenizerNone, log: log}, log, func(bool, string) {}, func(sglang.ServerInfo) { found++ })
	u.suspect()
	if !u.check(t.Context(), false) || found != 1 || len(u.suspicion) != 0 {
		t.Errorf("found %d times, %d suspicions left", found, len(u.suspicion))
	}
}

func TestReadinessIsLoggedOncePerTurn(t *testing.T) {
	f := newFake(t)
	f.stop()
	r := startUnready(t, f, nil)
	await(t, "SGLang has been asked", func() bool { return r.upstream.state().asked })
	for range 5 {
		_, _ = r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"})
	}
	f.start()
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	log := r.log.String()
	if strings.Count(log, "not ready: ") != 1 || strings.Count(log, "msg=ready") != 1 || !strings.Contains(log, "model=tiny") {
		t.Error(log)
	}
}

func TestAConfiguredVocabularyWins(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.VocabSize = 3 })
	_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{TokenIds: []int32{3}})
	if status.Code(err) != codes.InvalidArgument || !errorHolds(err, "[0, 3)") {
		t.Errorf("got %v", err)
	}
}
