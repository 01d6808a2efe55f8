package server

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
)

// startPool runs a proxy in front of several SGLangs, all of them ready.
func startPool(t *testing.T, n int, change func(*Config)) (*running, []*fakeSGLang) {
	t.Helper()
	fakes := make([]*fakeSGLang, n)
	for i := range fakes {
		fakes[i] = newFake(t)
	}
	r := start(t, fakes[0], func(c *Config) {
		for _, f := range fakes[1:] {
			c.Upstreams = append(c.Upstreams, f.url())
		}
		if change != nil {
			change(c)
		}
	})
	await(t, "all SGLangs are ready", func() bool { return r.readyOnes() == n })
	return r, fakes
}

func (r *running) readyOnes() (n int) {
	for _, b := range r.pool.all() {
		if b.upstream.state().ready {
			n++
		}
	}
	return n
}

func TestAnAbortReachesEverySGLangThoughItsClientGoesAtOnce(t *testing.T) {
	r, fakes := startPool(t, 2, nil)
	for range 50 {
		r.http(http.MethodPost, r.HTTPAddr()+"/abort_request", `{"rid": "mine"}`) // closes its connection
		for i, f := range fakes {
			select {
			case <-f.aborted:
			case <-time.After(patience):
				t.Fatalf("SGLang %d was not asked to abort", i)
			}
		}
	}
}

func TestAnUpstreamByNameIsEachOfItsAddresses(t *testing.T) {
	f := newFake(t)
	_, port, _ := net.SplitHostPort(f.addr)
	r := startUnready(t, f, func(c *Config) { c.Upstreams = []string{"dns+http://localhost:" + port} })
	r.awaitHealth(healthpb.HealthCheckResponse_SERVING)
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
		t.Error(o.err)
	}
	if !slices.ContainsFunc(r.pool.all(), func(b *backend) bool { return b.client.URL() == f.url() }) {
		t.Error("127.0.0.1 was not found under localhost")
	}
	// Its address goes, with a request waiting that nobody else can take.
	r.pool.meetAll([]string{f.url()}, nil)
	await(t, "it is gone", func() bool {
		return !slices.ContainsFunc(r.pool.all(), func(b *backend) bool { return b.client.URL() == f.url() })
	})
	r.pool.meetAll(nil, []string{f.url()})
	await(t, "it is back", func() bool { return r.readyOnes() > 0 })
	if o := <-r.send(r.context(), &pb.PrefillRequest{Text: "a"}); o.err != nil {
		t.Error(o.err)
	}
}

func TestANameThatIsNotKnownMakesTheProxyNotReadyAndSaysSo(t *testing.T) {
	r := startUnready(t, newFake(t), func(c *Config) { c.Upstreams = []string{"dns+http://nobody.invalid:30000"} })
	await(t, "the name was looked up", func() bool { return strings.Contains(r.log.String(), "can't be looked up") })
	_, err := r.prefill.Prefill(r.context(), &pb.PrefillRequest{Text: "a"})
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "no SGLang has been found yet") {
		t.Error(err)
	}
	if reply := r.http(http.MethodGet, r.HTTPAddr()+"/server_info", ""); reply.code != http.StatusServiceUnavailable {
		t.Errorf("%+v", reply)
	}
	if s, err := r.admin.GetStatus(r.context(), &pb.GetStatusRequest{}); err != nil || s.GetReady() || s.GetUpstream() != nil {
		t.Errorf("%v, %v", s, err)
	}
}

func TestWrongUpstreamsAreNamed(t *testing.T) {
	for _, upstreams := range [][]string{
		nil, {"http://a:1", "http://a:1"}, {"dns+http://a"}, {"dns+https://a:1"}, {"dns+a"}, {"http://a:1", ""},
	} {
		c := DefaultConfig()
		c.Upstreams = upstreams
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "upstream: ") {
			t.Errorf("%q: %v", upstreams, err)
		}
	}
}
