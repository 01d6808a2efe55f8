package server

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	orcapb "github.com/cncf/xds/go/xds/data/orca/v3"
	"google.golang.org/grpc"
	channelzpb "google.golang.org/grpc/channelz/grpc_channelz_v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "paceline/proto/paceline/v1"
)

func TestLargeHeadersAreRefusedAndHarmNobodyElse(t *testing.T) {
	r := start(t, newFake(t), nil)
	large := strings.Repeat("x", 2*maxHeaderBytes)
	if reply := r.post(`{"text": "a"}`, "X-Large", large); reply.code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d", reply.code)
	}
	ctx := metadata.AppendToOutgoingContext(r.context(), "x-large", large)
	if _, err := r.prefill.Prefill(ctx, &pb.PrefillRequest{Text: "a"}); err == nil {
		t.Error("accepted over gRPC")
	}
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
		t.Error(o.err)
	}
}

func TestDeeplyNestedJSONIsRefused(t *testing.T) {
	r := start(t, newFake(t), nil)
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for path, want := range map[string]string{
		"/generate":            "body: must not be nested deeper than 64",
		"/v1/chat/completions": "body: must not be nested deeper than 64",
		"/v1/prefill":          "",
	} {
		reply := r.http(http.MethodPost, r.HTTPAddr()+path, `{"text": "a", "x": {"x": `+deep+`}}`)
		if reply.code != http.StatusBadRequest || !strings.Contains(reply.body, want) {
			t.Errorf("%s: %d %.200s", path, reply.code, reply.body)
		}
	}
}

func TestAHundredMegabytesAreRefusedByTheirSize(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.MaxMessageBytes = 1 << 20 })
	for _, path := range []string{"/v1/prefill", "/generate"} {
		body := io.MultiReader(strings.NewReader(`{"text": "`), io.LimitReader(endless('x'), 100<<20))
		req, _ := http.NewRequestWithContext(r.context(), http.MethodPost, "http://"+r.HTTPAddr()+path, body)
		transport := &http.Transport{}
		res, err := transport.RoundTrip(req)
		if err != nil { // the connection may be closed while the rest is still being sent
			if !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
				t.Errorf("%s: %v", path, err)
			}
		} else {
			answer, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if res.StatusCode/100 != 4 || !strings.Contains(string(answer), "larger than") {
				t.Errorf("%s: %d %s", path, res.StatusCode, answer)
			}
		}
		transport.CloseIdleConnections()
	}
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
		t.Error(o.err)
	}
}

// endless is one byte for ever.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestChannelzIsOnTheAdminListenerOnly(t *testing.T) {
	r := start(t, newFake(t), nil)
	ask := func(addr string) error {
		_, err := channelzpb.NewChannelzClient(r.dial(addr)).GetServers(r.context(), &channelzpb.GetServersRequest{})
		return err
	}
	if err := ask(r.AdminAddr()); err != nil {
		t.Error(err)
	}
	if err := ask(r.Addr()); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

func TestTheLoadIsToldAfterEachCallWhereThatIsAskedFor(t *testing.T) {
	for _, asked := range []bool{false, true} {
		r := start(t, newFake(t), func(c *Config) { c.CallLoadReports, c.Settings.MaxWait = asked, 0 })
		var trailer metadata.MD
		if _, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"}, grpc.Trailer(&trailer)); err != nil {
			t.Fatal(err)
		}
		reports := trailer.Get("endpoint-load-metrics-bin")
		if (len(reports) > 0) != asked {
			t.Errorf("%d reports", len(reports))
		}
		for _, one := range reports {
			var report orcapb.OrcaLoadReport
			if err := proto.Unmarshal([]byte(one), &report); err != nil || report.GetApplicationUtilization() > 1 {
				t.Errorf("%v, %v", &report, err)
			}
		}
	}
}

func TestLoadReportsCountWhatTheLastWindowAnswered(t *testing.T) {
	l := &loadReports{}
	now := time.Unix(100, 0)
	if r := l.rates(50, 0, now); r != (rates{}) {
		t.Errorf("%+v", r)
	}
	if r := l.rates(150, 10, now.Add(2*time.Second)); r != (rates{50, 5}) {
		t.Errorf("%+v", r)
	}
	if r := l.rates(151, 10, now.Add(2500*time.Millisecond)); r != (rates{50, 5}) {
		t.Errorf("within the next window: %+v", r)
	}
}

func TestConnectionsThatGrowOldFailNoCall(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.MaxConnectionAge, c.Settings.MaxWait = 20*time.Millisecond, 0 })
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
			t.Fatal(o.err)
		}
	}
}

// It had been taken for an outage of SGLang: 503, and what is cached there was forgotten.
func TestABodyTooLargeToPassOnIsTheClientsFault(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.MaxMessageBytes = 64 << 10 })
	got := r.http(http.MethodPost, r.HTTPAddr()+"/tokenize", `{"prompt":"`+strings.Repeat("x", 1<<20)+`"}`)
	if got.code != http.StatusRequestEntityTooLarge || got.header.Get("Retry-After") != "" {
		t.Errorf("status %d, Retry-After %q: %s", got.code, got.header.Get("Retry-After"), got.body)
	}
	if strings.Contains(r.log.String(), "could not be passed on") {
		t.Errorf("SGLang was suspected:\n%s", r.log)
	}
}
