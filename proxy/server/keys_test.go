package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/upstream"
)

const (
	agentKey = "agents-key-0123456789"
	adminKey = "admins-key-0123456789"
)

func writeKeys(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// keyed is a proxy that asks for keys.
func keyed(t *testing.T, text string, change func(*Config)) (r *running, f *fakeSGLang, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys.yaml")
	writeKeys(t, path, text)
	f = newFake(t)
	r = start(t, f, func(c *Config) { // health asks for no key
		c.KeysFile, c.Settings.MaxWait = path, 0
		if change != nil {
			change(c)
		}
	})
	return r, f, path
}

func (r *running) withKey(key string) context.Context {
	return metadata.AppendToOutgoingContext(r.context(), "authorization", "Bearer "+key)
}

func TestOnlyCallersWithAKeyAreServed(t *testing.T) {
	r, f, _ := keyed(t, "- {name: agents, key: "+agentKey+", weight: 2}\n", nil)
	for name, ctx := range map[string]context.Context{
		"none": r.context(), "another": r.withKey("another-key-0123456789"), "half": r.withKey(agentKey[:10]),
	} {
		if _, err := r.prefill.Prefill(ctx, &pb.PrefillRequest{Text: "a"}); status.Code(err) != codes.Unauthenticated ||
			strings.Contains(err.Error(), "another-key") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := hearOne(ctx, r); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s, stream: %v", name, err)
		}
	}
	if _, err := r.prefill.Prefill(r.withKey(agentKey), &pb.PrefillRequest{Text: "a"}); err != nil {
		t.Error(err)
	}
	bodies := map[string]string{
		"/v1/prefill": `{"text":"a"}`, "/generate": `{"text":"a","sampling_params":{"max_new_tokens":0}}`,
		"/v1/completions": `{"prompt":"a"}`, "/abort_request": `{"rid":"x"}`,
	}
	for path, body := range bodies {
		if got := r.http("POST", r.HTTPAddr()+path, body); got.code != http.StatusUnauthorized {
			t.Errorf("%s without a key: %+v", path, got)
		}
		if got := r.http("POST", r.HTTPAddr()+path, body, "Authorization", "Bearer "+agentKey); got.code == http.StatusUnauthorized {
			t.Errorf("%s with a key: %+v", path, got)
		}
	}
	if _, err := r.health.Check(r.context(), new(healthpb.HealthCheckRequest)); err != nil {
		t.Errorf("health: %v", err)
	}
	if got := r.http("GET", r.HTTPAddr()+"/readyz", ""); got.code != 200 {
		t.Errorf("readyz: %+v", got)
	}
	if _, err := r.admin.GetStatus(r.context(), new(pb.GetStatusRequest)); err != nil {
		t.Errorf("admin on loopback: %v", err)
	}
	for _, one := range f.authorized() {
		if one != "" {
			t.Error("SGLang got its caller's key")
		}
	}
	if strings.Contains(r.log.String(), agentKey) {
		t.Error("a key is in the log")
	}
}

// hearOne opens a stream and returns its first reply.
func hearOne(ctx context.Context, r *running) (*pb.PrefillStreamResponse, error) {
	s, err := r.prefill.PrefillStream(ctx)
	if err != nil {
		return nil, err
	}
	return s.Recv()
}

func TestAKeysRateIsItsOwn(t *testing.T) {
	r, _, _ := keyed(t, "- {name: slow, key: "+agentKey+", requests_per_second: 2}\n- {name: fast, key: "+adminKey+"}\n", nil)
	refused := 0
	for range 6 {
		_, err := r.prefill.Prefill(r.withKey(agentKey), &pb.PrefillRequest{Text: "a"})
		if s := status.Convert(err); s.Code() == codes.ResourceExhausted && upstream.RetryAfter(s) > 0 &&
			upstream.RetryAfter(s) <= time.Second {
			refused++
		} else if err != nil {
			t.Error(err)
		}
		if _, err := r.prefill.Prefill(r.withKey(adminKey), &pb.PrefillRequest{Text: "a"}); err != nil {
			t.Error(err)
		}
	}
	if refused < 2 {
		t.Errorf("%d of 6 at once were refused", refused)
	}
}

func TestAListCountsEachOfItsPromptsAgainstAKeysRate(t *testing.T) {
	for path, body := range map[string]string{
		"/v1/completions": `{"model":"tiny","prompt":["a","b","c"]}`, "/v1/embeddings": `{"model":"tiny","input":["a","b","c"]}`,
		"/generate": `{"input_ids":[[1],[2],[3]],"sampling_params":{"max_new_tokens":5}}`, "/v1/score": `{"query":"a","items":["a","b","c"]}`,
		"/v1/paceline/score": `{"text":"a","items":[{"text":"a"},{"text":"b"},{"text":"c"}],"label_token_ids":[5]}`,
	} {
		r, _, _ := keyed(t, "- {name: slow, key: "+agentKey+", requests_per_second: 0.001}\n", nil)
		header := []string{"Authorization", "Bearer " + agentKey, "Content-Type", "application/json"}
		if got := r.http("POST", r.HTTPAddr()+path, body, header...); got.code == http.StatusTooManyRequests {
			t.Errorf("%s, the list: %+v", path, got)
		}
		got := r.http("POST", r.HTTPAddr()+path, body, header...)
		if wait, _ := strconv.Atoi(got.header.Get("Retry-After")); got.code != http.StatusTooManyRequests || wait < 2500 {
			t.Errorf("%s, 3 prompts later: %+v", path, got)
		}
	}
}

func TestAListThatIsRefusedCountsOnceAgainstAKeysRate(t *testing.T) {
	r, _, _ := keyed(t, "- {name: slow, key: "+agentKey+", requests_per_second: 0.001}\n", nil)
	header := []string{"Authorization", "Bearer " + agentKey, "Content-Type", "application/json"}
	body := `{"text":"a","items":[{"text":"a"},{"text":"b"},{"token_ids":[-1]}],"label_token_ids":[5]}`
	if got := r.http("POST", r.HTTPAddr()+"/v1/paceline/score", body, header...); got.code != http.StatusBadRequest {
		t.Errorf("%+v", got)
	}
	got := r.http("POST", r.HTTPAddr()+"/v1/paceline/score", body, header...)
	if wait, _ := strconv.Atoi(got.header.Get("Retry-After")); got.code != http.StatusTooManyRequests || wait > 1000 {
		t.Errorf("afterwards: %+v", got)
	}
}

func TestAKeysRateHoldsOnAdministrativePathsThatArePassedOn(t *testing.T) {
	r, _, _ := keyed(t, "- {name: slow, key: "+agentKey+", requests_per_second: 0.001}\n", func(c *Config) { c.PassAdmin = true })
	for i := range 2 {
		got := r.http("POST", r.HTTPAddr()+"/flush_cache", "", "Authorization", "Bearer "+agentKey)
		if refused := got.code == http.StatusTooManyRequests; refused != (i == 1) {
			t.Errorf("%d: %+v", i, got)
		}
	}
}

// Requests that are passed on were not counted.
func TestAKeysRateHoldsOnEveryPathInTheFormOfItsClients(t *testing.T) {
	for path, c := range map[string]struct{ body, form string }{
		"/generate":            {`{"text":"a","sampling_params":{"max_new_tokens":0}}`, `{"error":{"message":`},
		"/generate?":           {`{"text":"a","sampling_params":{"max_new_tokens":5}}`, `{"error":{"message":`},
		"/v1/completions":      {`{"model":"tiny","prompt":"a"}`, `"code":"rate_limit_exceeded"`},
		"/v1/chat/completions": {`{"model":"tiny","messages":[{"role":"user","content":"a"}]}`, `"code":"rate_limit_exceeded"`},
		"/v1/embeddings":       {`{"model":"tiny","input":"a"}`, `"code":"rate_limit_exceeded"`},
		"/v1/messages":         {`{"model":"tiny","max_tokens":1,"messages":[{"role":"user","content":"a"}]}`, `"type":"rate_limit_error"`},
		"/api/chat":            {`{"model":"tiny","messages":[{"role":"user","content":"a"}]}`, `{"error":"the key`},
		"/v1/prefill":          {`{"text":"a"}`, `"code":8`},
	} {
		r, _, _ := keyed(t, "- {name: slow, key: "+agentKey+", requests_per_second: 0.001}\n", nil)
		header := []string{"Authorization", "Bearer " + agentKey, "Content-Type", "application/json"}
		if got := r.http("POST", r.HTTPAddr()+path, c.body, header...); got.code == http.StatusTooManyRequests {
			t.Errorf("%s, the first: %+v", path, got)
		}
		got := r.http("POST", r.HTTPAddr()+path, c.body, header...)
		if got.code != http.StatusTooManyRequests || !strings.Contains(got.body, c.form) || got.header.Get("Retry-After") == "" {
			t.Errorf("%s, the second: %+v", path, got)
		}
		for _, free := range [][2]string{{"POST", "/abort_request"}, {"GET", "/model_info"}} {
			if got := r.http(free[0], r.HTTPAddr()+free[1], `{"rid":"x"}`, header...); got.code == http.StatusTooManyRequests {
				t.Errorf("%s: %+v", free, got)
			}
		}
	}
}

func TestAChangedKeysFileIsFollowedAndABrokenOneIsNot(t *testing.T) {
	r, _, path := keyed(t, "- {name: agents, key: "+agentKey+"}\n", nil)
	call := func(key string) codes.Code {
		_, err := r.prefill.Prefill(r.withKey(key), &pb.PrefillRequest{Text: "a"})
		return status.Code(err)
	}
	writeKeys(t, path, "- {name: agents, key: "+adminKey+", weight: 3}\n")
	await(t, "the new key is known", func() bool { return call(adminKey) == codes.OK })
	if c := call(agentKey); c != codes.Unauthenticated {
		t.Errorf("the old key: %v", c)
	}
	if log := r.log.String(); strings.Count(log, "files read again") != 1 || strings.Contains(log, adminKey) ||
		!strings.Contains(log, "agents (weight 1) removed agents (weight 3) added") {
		t.Error(log)
	}
	writeKeys(t, path, "- {name: agents, key: short}\n")
	await(t, "the log line", func() bool { _ = call(adminKey); return strings.Contains(r.log.String(), "previous keys stay") })
	if c := call(adminKey); c != codes.OK {
		t.Errorf("after a broken file: %v", c)
	}
}

func TestAWrongKeysFileIsRefusedWithoutQuotingIt(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "holds no key",
		"[]":                        "holds no key",
		"- {key: " + agentKey + "}": "[0].name: must not be empty",
		"- {name: a, key: secret}":  "[0].key: must have at least 16 characters",
		"- {name: a, key: " + agentKey + ", wait: 1}":                            "not a list of keys",
		"- {name: a, key: " + agentKey + "}\n- {name: b, key: " + agentKey + "}": "[1].key: is set twice",
		"- {name: a, key: " + agentKey + ", weight: -1}":                         "[0].weight: must be from 0",
		"- {name: a, key: " + agentKey + ", requests_per_second: .nan}":          "[0].requests_per_second: must be from 0",
		"name: a": "not a list of keys",
	} {
		path := filepath.Join(t.TempDir(), "keys.yaml")
		writeKeys(t, path, text)
		cfg := DefaultConfig()
		cfg.KeysFile, cfg.Listen, cfg.HTTP, cfg.Admin = path, "127.0.0.1:0", "", ""
		_, err := New(cfg)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), agentKey) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAdminBeyondLoopbackNeedsAnAdminKey(t *testing.T) {
	r, _, _ := keyed(t, "- {name: agents, key: "+agentKey+"}\n- {name: ops, key: "+adminKey+", admin: true}\n",
		func(c *Config) { c.Admin = "0.0.0.0:0" })
	for key, want := range map[string]codes.Code{"": codes.Unauthenticated, agentKey: codes.PermissionDenied, adminKey: codes.OK} {
		if _, err := r.admin.GetStatus(r.withKey(key), new(pb.GetStatusRequest)); status.Code(err) != want {
			t.Errorf("%q: %v, want %v", key, err, want)
		}
	}
	if got := r.http("GET", r.AdminAddr()+"/v1/admin/status", "", "Authorization", "Bearer "+adminKey); got.code != 200 {
		t.Errorf("REST: %+v", got)
	}
	if got := r.http("POST", r.AdminAddr()+"/v1/admin:drain", ""); got.code != http.StatusUnauthorized {
		t.Errorf("REST without a key: %+v", got)
	}
	cfg := DefaultConfig()
	cfg.Admin = "0.0.0.0:9090"
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "-tls-client-ca") {
		t.Errorf("admin beyond loopback with nothing: %v", err)
	}
}

func TestAListenerThatAnybodyCanUseIsWarnedOf(t *testing.T) {
	r := start(t, newFake(t), func(c *Config) { c.Listen = "0.0.0.0:0" })
	for _, want := range []string{"unencrypted", "anybody who reaches this listener"} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("no %q in %s", want, r.log)
		}
	}
}

// authority issues certificates for loopback.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key = a.make("authority", nil)
	return a
}

func (a *authority) make(name string, parent *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: parent == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	by, with := template, key
	if parent != nil {
		by, with = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, &key.PublicKey, with)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// issue writes a certificate and its key.
func (a *authority) issue(name, certPath, keyPath string) {
	a.t.Helper()
	cert, key := a.make(name, a)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	writeKeys(a.t, keyPath, string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})))
	writeKeys(a.t, certPath, a.pem(cert))
}

func (a *authority) pem(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func (a *authority) client(certificates ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, Certificates: certificates, MinVersion: tls.VersionTLS12}
}

func TestTLSServesBothPortsAndFollowsARotatedCertificate(t *testing.T) {
	dir, a := t.TempDir(), newAuthority(t)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a.issue("first", cert, key)
	r := startUnready(t, newFake(t), func(c *Config) { c.TLSCert, c.TLSKey, c.Settings.MaxWait = cert, key, 0 })
	await(t, "SGLang is there", func() bool { return r.up.Snapshot().Ready })

	// The name of the certificate that a new connection is shown.
	served := func(addr string, protocols ...string) string {
		config := a.client()
		config.NextProtos = protocols
		c, err := (&tls.Dialer{Config: config}).DialContext(r.context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName + " " + c.(*tls.Conn).ConnectionState().NegotiatedProtocol
	}
	if got := served(r.Addr(), "h2"); got != "first h2" {
		t.Error(got)
	}
	conn, err := grpc.NewClient(r.Addr(), grpc.WithTransportCredentials(credentials.NewTLS(a.client())))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := pb.NewPrefillServiceClient(conn).Prefill(r.context(), &pb.PrefillRequest{Text: "a"}); err != nil {
		t.Error(err)
	}
	transport := &http.Transport{TLSClientConfig: a.client(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	req, _ := http.NewRequestWithContext(r.context(), http.MethodPost, "https://"+r.HTTPAddr()+"/v1/prefill",
		strings.NewReader(`{"text":"a"}`))
	res, err := transport.RoundTrip(req)
	if err != nil || res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
	_ = res.Body.Close()

	a.issue("second", cert, key)
	await(t, "the new certificate is served", func() bool { return served(r.Addr(), "h2") == "second h2" })
	rotated := regexp.MustCompile(`changed="\[serial [0-9a-f]+, valid until \S+ -> serial [^,]+, valid until \S+\]"`)
	if log := r.log.String(); !rotated.MatchString(log) {
		t.Error(log)
	}
	writeKeys(t, cert, "nonsense")
	await(t, "the broken one is told of", func() bool {
		return strings.HasPrefix(served(r.HTTPAddr(), "http/1.1"), "second") && strings.Contains(r.log.String(), "previous certificates stay")
	})
}

func TestWithMutualTLSOnlyCertificatesOfTheAuthorityAreServed(t *testing.T) {
	dir, a := t.TempDir(), newAuthority(t)
	cert, key, ca := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	a.issue("server", cert, key)
	writeKeys(t, ca, a.pem(a.cert))
	r := startUnready(t, newFake(t), func(c *Config) {
		c.TLSCert, c.TLSKey, c.TLSClientCA, c.Settings.MaxWait, c.Admin = cert, key, ca, 0, "0.0.0.0:0"
	})
	await(t, "SGLang is there", func() bool { return r.up.Snapshot().Ready })
	clientCert, clientKey := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	a.issue("client", clientCert, clientKey)
	own, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	newAuthority(t).issue("stranger", clientCert, clientKey)
	strange, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	// A prober has none: it asks where the metrics are.
	for path, want := range map[string]string{"/healthz": "alive\n", "/readyz": "ready\n"} {
		if reply := r.http(http.MethodGet, r.MetricsAddr()+path, ""); reply.code != http.StatusOK || reply.body != want {
			t.Errorf("%s: %d %q", path, reply.code, reply.body)
		}
	}
	_, adminPort, _ := net.SplitHostPort(r.AdminAddr())
	for name, c := range map[string]struct {
		certificates []tls.Certificate
		served       bool
	}{"none": {nil, false}, "of another": {[]tls.Certificate{strange}, false}, "its own": {[]tls.Certificate{own}, true}} {
		for _, addr := range []string{r.Addr(), "127.0.0.1:" + adminPort} {
			conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(a.client(c.certificates...))))
			if err != nil {
				t.Fatal(err)
			}
			if addr == r.Addr() {
				_, err = pb.NewPrefillServiceClient(conn).Prefill(r.context(), &pb.PrefillRequest{Text: "a"})
			} else {
				_, err = pb.NewAdminServiceClient(conn).GetStatus(r.context(), new(pb.GetStatusRequest))
			}
			if (err == nil) != c.served {
				t.Errorf("%s at %s: %v", name, addr, err)
			}
			_ = conn.Close()
		}
	}
	writeKeys(t, ca, a.pem(newAuthority(t).cert))
	await(t, "another authority is read", func() bool {
		c, err := (&tls.Dialer{Config: a.client(own)}).DialContext(r.context(), "tcp", r.Addr())
		if err == nil {
			_ = c.Close()
		}
		return strings.Contains(r.log.String(), `changed="[the authorities of clients]"`)
	})
}

func TestTLSFilesAreCheckedAtTheStart(t *testing.T) {
	for _, files := range [][3]string{{"a", "", ""}, {"", "b", ""}, {"", "", "c"}, {"/nowhere/a", "/nowhere/b", ""}} {
		cfg := DefaultConfig()
		cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics = "127.0.0.1:0", "", "", ""
		cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA = files[0], files[1], files[2]
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "tls-cert: ") {
			t.Errorf("%v: %v", files, err)
		}
	}
}

func TestKeysShareNoPrefixAndNoPromptUnlessTheyMay(t *testing.T) {
	const otherKey = "others-key-0123456789"
	long := strings.Repeat("a shared beginning ", 200)
	for _, across := range []bool{true, false} {
		r, f, _ := keyed(t, "- {name: agents, key: "+agentKey+"}\n- {name: others, key: "+otherKey+"}\n", func(c *Config) {
			c.Upstream.ShareAcrossKeys = across
		})
		f.hold = make(chan struct{})
		f.info["max_req_input_len"] = 10_000
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i, key := range []string{agentKey, otherKey} {
			if i == 1 {
				<-f.entered
				<-f.entered
			}
			wg.Go(func() {
				r.http(http.MethodPost, r.HTTPAddr()+"/generate", `{"text":"`+long+`","sampling_params":{"max_new_tokens":0}}`,
					"Authorization", "Bearer "+key)
			})
			wg.Go(func() {
				body := strings.NewReader(`{"model":"mute","stream":true,"prompt":"other ` + long + `"}`)
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url("/v1/completions"), body)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header = http.Header{"Authorization": {"Bearer " + key}, "Content-Type": {"application/json"}}
				if res, err := http.DefaultClient.Do(req); err == nil {
					_ = res.Body.Close()
				}
			})
		}
		if across {
			await(t, "both wait", func() bool { s := r.up.Queue.Stats(); return s.Held == 1 && s.Passing.Waiting == 1 })
		} else {
			<-f.entered
			<-f.entered
		}
		if len(f.entered) > 0 {
			t.Error("more was sent")
		}
		close(f.hold)
		leave()
		wg.Wait()
	}
}
