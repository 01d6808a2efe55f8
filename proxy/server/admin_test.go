package server

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"paceline/batcher"
	pb "paceline/proto/paceline/v1"
)

func update(paths string, s *pb.Settings) *pb.UpdateSettingsRequest {
	mask := &fieldmaskpb.FieldMask{}
	if paths != "" {
		mask.Paths = strings.Split(paths, ",")
	}
	return &pb.UpdateSettingsRequest{Settings: s, UpdateMask: mask}
}

func TestAnUpdateChangesTheNamedSettingsAndNoOthers(t *testing.T) {
	r := start(t, newFake(t), nil)
	got, err := r.admin.UpdateSettings(r.context(), update("batch_size,max_wait", &pb.Settings{
		BatchSize: 3, MaxWait: durationpb.New(time.Second), MaxInFlight: 99,
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := settingsMessage(batcher.DefaultSettings())
	want.BatchSize, want.MaxWait = 3, durationpb.New(time.Second)
	if d := cmp.Diff(want, got.GetSettings(), protocmp.Transform()); d != "" {
		t.Error(d)
	}
	read, err := r.admin.GetSettings(r.context(), &pb.GetSettingsRequest{})
	if d := cmp.Diff(want, read.GetSettings(), protocmp.Transform()); err != nil || d != "" {
		t.Error(err, d)
	}
}

// Every field of the contract must be known to the update.
func TestEverySettingCanBeChanged(t *testing.T) {
	r := start(t, newFake(t), nil)
	want := &pb.Settings{
		Mode: pb.BatchMode_BATCH_MODE_UNBATCHED, BatchSize: 3, MaxWait: durationpb.New(time.Second), MaxInFlight: 4,
		QueueRequests: 5, QueueBytes: 600, BatchTokens: 7, BatchBytes: 8, MergeIdentical: false,
		Share: pb.Share_SHARE_PREFILL, PrefixBlocks: 9, MaxAge: durationpb.New(time.Minute), Retries: 1, BreakerFailures: 11,
		ForwardsInFlight: 12,
	}
	var names []string
	fields := want.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		names = append(names, string(fields.Get(i).Name()))
	}
	got, err := r.admin.UpdateSettings(r.context(), update(strings.Join(names, ","), want))
	if d := cmp.Diff(want, got.GetSettings(), protocmp.Transform()); err != nil || d != "" {
		t.Error(err, d)
	}
}

func TestAWrongUpdateNamesItsFieldAndChangesNothing(t *testing.T) {
	r := start(t, newFake(t), nil)
	before := r.up.Queue.Settings()
	for _, c := range []struct {
		req         *pb.UpdateSettingsRequest
		field, part string
	}{
		{update("", &pb.Settings{BatchSize: 3}), "update_mask", "must name"},
		{&pb.UpdateSettingsRequest{Settings: &pb.Settings{BatchSize: 3}}, "update_mask", "must name"},
		{update("batch_size", nil), "settings", "must hold"},
		{update("batch_size,bach_size", &pb.Settings{BatchSize: 3}), "update_mask", `"bach_size"`},
		{update("batch_size,max_in_flight", &pb.Settings{BatchSize: 3}), "settings.max_in_flight", "from 1 to 4096, got 0"},
		{update("batch_size", &pb.Settings{BatchSize: 1 << 31}), "settings.batch_size", "from 1 to 4096"},
		{update("max_wait", &pb.Settings{MaxWait: durationpb.New(-1)}), "settings.max_wait", "from 0s"},
		{update("max_wait", &pb.Settings{MaxWait: &durationpb.Duration{Nanos: -5, Seconds: 5}}), "settings.max_wait", "valid"},
		{update("mode", &pb.Settings{Mode: 77}), "settings.mode", "77"},
		{update("queue_bytes", &pb.Settings{}), "settings.queue_bytes", "at least 1"},
		{update("prefix_blocks", &pb.Settings{}), "settings.prefix_blocks", "from 1"},
		{update("max_age", &pb.Settings{MaxAge: durationpb.New(2 * time.Hour)}), "settings.max_age", "to 1h"},
		{update("retries", &pb.Settings{Retries: 11}), "settings.retries", "to 10"},
		{update("forwards_in_flight", &pb.Settings{ForwardsInFlight: 1001}), "settings.forwards_in_flight", "to 1000"},
		{update("breaker_failures", &pb.Settings{}), "settings.breaker_failures", "from 1"},
	} {
		_, err := r.admin.UpdateSettings(r.context(), c.req)
		s := status.Convert(err)
		if s.Code() != codes.InvalidArgument || !strings.Contains(s.Message(), c.part) {
			t.Errorf("%s: got %v", c.field, err)
			continue
		}
		if f := s.Details()[0].(*errdetails.BadRequest).GetFieldViolations()[0].GetField(); f != c.field {
			t.Errorf("field %q, want %q", f, c.field)
		}
	}
	if now := r.up.Queue.Settings(); now != before {
		t.Errorf("changed to %+v", now)
	}
}

func TestRequestsInTheQueueFollowAnUpdate(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Settings.MaxWait = time.Minute })
	a, b := r.send(r.context(), &pb.PrefillRequest{Text: "a"}), r.send(r.context(), &pb.PrefillRequest{Text: "b"})
	await(t, "both wait", func() bool { return r.Pending() == 2 })
	if _, err := r.admin.UpdateSettings(r.context(), update("batch_size", &pb.Settings{BatchSize: 2})); err != nil {
		t.Fatal(err)
	}
	for _, end := range []<-chan outcome{a, b} {
		if o := <-end; o.err != nil || o.reply.GetReceipt().GetReleaseReason() != pb.ReleaseReason_RELEASE_REASON_FULL {
			t.Errorf("got %v, %v", o.reply.GetReceipt(), o.err)
		}
	}
	if _, err := r.admin.UpdateSettings(r.context(), update("mode", &pb.Settings{Mode: pb.BatchMode_BATCH_MODE_UNBATCHED})); err != nil {
		t.Fatal(err)
	}
	o := <-r.send(r.context(), &pb.PrefillRequest{Text: "c"})
	if o.err != nil || o.reply.GetReceipt().GetReleaseReason() != pb.ReleaseReason_RELEASE_REASON_UNBATCHED {
		t.Errorf("unbatched: %v, %v", o.reply.GetReceipt(), o.err)
	}
}

func TestStatusTellsWhatIsKnown(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Version = "v9" })
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); err != nil {
		t.Fatal(err)
	}
	s, err := r.admin.GetStatus(r.context(), &pb.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	u := s.GetUpstream()
	if s.GetVersion() != "v9" || !s.GetReady() || s.GetDraining() || s.GetStartTime().AsTime().IsZero() ||
		u.GetModel() != "tiny" || !u.GetSimulated() || u.GetVocabSize() != fakeVocabulary || u.GetMaxPromptTokens() != 100-1 ||
		u.GetVersion() != "0.5.23" || u.GetDevice() != "cpu" || u.GetError() != "" || u.LoadSeconds != nil {
		t.Errorf("got %v", s)
	}
	b := s.GetBatcher()
	if b.GetAccepted() != 1 || b.GetAnswered() != 1 || len(b.GetReleases()) != 1 || b.GetReleases()[0].GetRequests() != 1 {
		t.Errorf("got %v", b)
	}
}

func TestDrainCanBeUndone(t *testing.T) {
	r := start(t, newFake(t), nil)
	if _, err := r.admin.Drain(r.context(), &pb.DrainRequest{}); err != nil {
		t.Fatal(err)
	}
	r.awaitHealth(healthpb.HealthCheckResponse_NOT_SERVING)
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); status.Code(err) != codes.Unavailable {
		t.Errorf("drained: %v", err)
	}
	if s, err := r.admin.GetStatus(r.context(), &pb.GetStatusRequest{}); err != nil || s.GetReady() || !s.GetDraining() {
		t.Errorf("status %v, %v", s, err)
	}
	if _, err := r.admin.Undrain(r.context(), &pb.UndrainRequest{}); err != nil {
		t.Fatal(err)
	}
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); err != nil {
		t.Errorf("undrained: %v", err)
	}
}

func TestFlush(t *testing.T) {
	f := newFake(t)
	r := start(t, f, nil)
	if _, err := r.admin.FlushCache(r.context(), &pb.FlushCacheRequest{Timeout: durationpb.New(time.Second)}); err != nil {
		t.Error(err)
	}
	_, err := r.admin.FlushCache(r.context(), &pb.FlushCacheRequest{Timeout: durationpb.New(2 * time.Hour)})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("two hours: %v", err)
	}
	f.busy(true)
	if _, err := r.admin.FlushCache(r.context(), &pb.FlushCacheRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("busy: %v", err)
	}
	if log := r.log.String(); strings.Count(log, `msg="SGLang's cache not flushed" by=127.0.0.1 error=`) != 1 {
		t.Error(log)
	}
}

func TestAdminOverREST(t *testing.T) {
	r := start(t, newFake(t), nil)
	path := r.AdminAddr() + "/v1/admin/settings"
	if got := r.http("PATCH", path, `{"batch_size": 5, "max_wait": "0.25s"}`); got.code != 200 {
		t.Errorf("patch: %d %s", got.code, got.body)
	}
	if s := r.up.Queue.Settings(); s.BatchSize != 5 || s.MaxWait != 250*time.Millisecond || s.MaxInFlight != 8 {
		t.Errorf("patched to %+v", s)
	}
	if got := r.http("PATCH", path, `{"mode": "unbatched", "share": "off", "max_wait": "5ms"}`); got.code != 200 {
		t.Errorf("in the form of flags: %d %s", got.code, got.body)
	}
	if s := r.up.Queue.Settings(); s.Mode != batcher.ModeUnbatched || s.Share != batcher.ShareOff || s.MaxWait != 5*time.Millisecond {
		t.Errorf("patched to %+v", s)
	}
	if got := r.http("POST", r.AdminAddr()+"/v1/admin/cache:flush", `{"timeout": "50ms"}`); got.code != 200 {
		t.Errorf("flush: %d %s", got.code, got.body)
	}
	if got := r.http("PATCH", path, `{"max_wait": "5"}`); got.code != 400 || !strings.Contains(got.body, "max_wait: must be a duration") {
		t.Errorf("wrong form: %d %s", got.code, got.body)
	}
	if got := r.http("PATCH", path, `{"batch_size": 0}`); got.code != 400 || !strings.Contains(got.body, "settings.batch_size") {
		t.Errorf("wrong patch: %d %s", got.code, got.body)
	}
	if got := r.http("PATCH", path, `{}`); got.code != 400 || !strings.Contains(got.body, "update_mask") {
		t.Errorf("empty patch: %d %s", got.code, got.body)
	}
	if got := r.http("GET", r.AdminAddr()+"/v1/admin/status", ""); got.code != 200 || !strings.Contains(got.body, `"ready":true`) {
		t.Errorf("status: %d %s", got.code, got.body)
	}
	if got := r.http("POST", r.AdminAddr()+"/v1/admin:drain", ""); got.code != 200 {
		t.Errorf("drain: %d %s", got.code, got.body)
	}
	if got := r.http("POST", r.AdminAddr()+"/v1/admin:undrain", ""); got.code != 200 {
		t.Errorf("undrain: %d %s", got.code, got.body)
	}
}

func TestEachAdministrativeActIsLoggedOnceWithWhoAndWhatChanged(t *testing.T) {
	r, _, _ := keyed(t, "- {name: ops, key: "+adminKey+", admin: true}\n", func(c *Config) { c.Admin = "0.0.0.0:0" })
	address := r.AdminAddr()
	for _, c := range []struct{ method, path, body string }{
		{"PATCH", "/v1/admin/settings", `{"batch_size": 5, "max_wait": "5ms", "max_in_flight": 8}`},
		{"POST", "/v1/admin/cache:flush", ""}, {"POST", "/v1/admin:drain", ""}, {"POST", "/v1/admin:undrain", ""},
	} {
		if got := r.http(c.method, address+c.path, c.body, "Authorization", "Bearer "+adminKey); got.code != 200 {
			t.Fatalf("%s: %d %s", c.path, got.code, got.body)
		}
	}
	for _, want := range []string{
		`msg="settings changed" by=ops changed="[batch_size: 16 -> 5 max_wait: 0s -> 5ms]"`, `msg="SGLang's cache flushed" by=ops`,
		"msg=drain by=ops was_draining=false pending=0", "msg=undrain by=ops was_draining=true",
	} {
		if n := strings.Count(r.log.String(), want); n != 1 {
			t.Errorf("%d times %q in\n%s", n, want, r.log)
		}
	}
	local := start(t, newFake(t), nil)
	for range 20 { // none is left out as a repetition
		if got := local.http("POST", local.AdminAddr()+"/v1/admin:undrain", "", "X-Forwarded-For", "9.9.9.9"); got.code != 200 {
			t.Fatal(got)
		}
	}
	if log := local.log.String(); strings.Count(log, "msg=undrain by=127.0.0.1 was_draining=false") != 20 {
		t.Error(log)
	}
}

func TestAdminIsNotOnTheDataPort(t *testing.T) {
	r := start(t, newFake(t), nil)
	_, err := pb.NewAdminServiceClient(r.dial(r.Addr())).GetStatus(r.context(), &pb.GetStatusRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("gRPC: %v", err)
	}
	if got := r.http("GET", r.HTTPAddr()+"/v1/admin/status", ""); got.code != 404 {
		t.Errorf("REST: %d", got.code)
	}
}

func TestAdminRefusesWebPages(t *testing.T) {
	r := start(t, newFake(t), nil)
	path := r.AdminAddr() + "/v1/admin:drain"
	if got := r.http("POST", path, "", "Origin", "http://evil.example"); got.code != 403 {
		t.Errorf("another site: %d", got.code)
	}
	if got := r.http("POST", path, "", "Host", "evil.example:9090"); got.code != 403 {
		t.Errorf("a name pointed here: %d", got.code)
	}
	if got := r.http("GET", r.AdminAddr()+"/v1/admin/status", "", "Host", "localhost:9090"); got.code != 200 {
		t.Errorf("localhost: %d", got.code)
	}
}
