package target

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"paceline/proxy/server"
	"paceline/proxy/server/servertest"
)

// authority issues certificates for loopback into a folder.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.make("authority", nil)
	return a
}

func (a *authority) make(name string, by *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	own := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: by == nil, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := own, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, own, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

// file writes a file and returns its path.
func (a *authority) file(name, text string) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

func (a *authority) pem(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// ca is the file with its certificate.
func (a *authority) ca() string { return a.file("ca.pem", a.pem("CERTIFICATE", a.cert.Raw)) }

// issue writes a certificate and its key.
func (a *authority) issue(name string) (cert, key string) {
	c, k := a.make(name, a)
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.file(name+".pem", a.pem("CERTIFICATE", c.Raw)), a.file(name+".key", a.pem("EC PRIVATE KEY", der))
}

const (
	agentKey = "agents-key-0123456789"
	adminKey = "admins-key-0123456789"
)

// run is a proxy in front of a simulator; its addresses are on loopback.
func run(t *testing.T, change func(*server.Config)) (addr, admin string) {
	t.Helper()
	cfg := server.DefaultConfig()
	url, err := servertest.Simulator(t, 50).Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Upstream.URL, cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics = url, "127.0.0.1:0", "", "0.0.0.0:0", ""
	change(&cfg)
	proxy, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	_, port, err := net.SplitHostPort(proxy.AdminAddr())
	if err != nil {
		t.Fatal(err)
	}
	return proxy.Addr(), "127.0.0.1:" + port
}

// use sends a prompt and reads the settings, once the proxy is ready.
func use(t *testing.T, addr, admin string, a Access) error {
	t.Helper()
	p, err := DialProxy(addr, admin, a)
	if err != nil {
		return err
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		s, err := p.Status(ctx)
		if err != nil {
			return err
		}
		if s.GetReady() {
			break
		}
		time.Sleep(5 * time.Millisecond) // leaves the processor to who gets ready
	}
	if _, err := p.CurrentSettings(ctx); err != nil {
		return err
	}
	_, err = p.Send(ctx, Prompt{Text: "a prompt"})
	return err
}

func TestAProxyWithMutualTLSIsReachedWithACertificateOfItsAuthority(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("server")
	addr, admin := run(t, func(c *server.Config) { c.TLSCert, c.TLSKey, c.TLSClientCA = cert, key, a.ca() })
	own, ownKey := a.issue("client")
	if err := use(t, addr, admin, Access{CA: a.ca(), Cert: own, Key: ownKey}); err != nil {
		t.Error(err)
	}
	stranger, strangerKey := newAuthority(t).issue("stranger")
	for name, access := range map[string]Access{
		"no certificate":                {CA: a.ca()},
		"another authority's":           {CA: a.ca(), Cert: stranger, Key: strangerKey},
		"no TLS":                        {},
		"a server of another authority": {CA: newAuthority(t).ca(), Cert: own, Key: ownKey},
		"the system's authorities":      {CA: "system", Cert: own, Key: ownKey},
	} {
		if err := use(t, addr, admin, access); status.Code(err) != codes.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProxyWithKeysIsReachedWithOneOnBothListeners(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("server")
	keys := a.file("keys.yaml", "- {name: agents, key: "+agentKey+"}\n- {name: ops, key: "+adminKey+", admin: true}\n")
	addr, admin := run(t, func(c *server.Config) { c.TLSCert, c.TLSKey, c.KeysFile = cert, key, keys })
	for text, want := range map[string]codes.Code{
		"": codes.Unauthenticated, agentKey + "\n": codes.PermissionDenied, adminKey + "\n": codes.OK,
	} {
		access := Access{CA: a.ca()}
		if text != "" {
			access.BearerFile = a.file("key", text)
		}
		if err := use(t, addr, admin, access); status.Code(err) != want {
			t.Errorf("%q: %v, want %v", text, err, want)
		} else if err != nil && strings.Contains(err.Error(), "0123456789") {
			t.Errorf("an error tells the key: %v", err)
		}
	}
}

func TestAnAdminListenerOnLoopbackIsPlainBesideTLS(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("server")
	addr, admin := run(t, func(c *server.Config) { c.TLSCert, c.TLSKey, c.Admin = cert, key, "127.0.0.1:0" })
	if err := use(t, addr, "http://"+admin, Access{CA: a.ca()}); err != nil {
		t.Error(err)
	}
}

func TestAccessThatCannotBeIsNamedByItsFlag(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue("client")
	for want, access := range map[string]Access{
		"-target-tls-ca: ":                        {CA: a.file("none.pem", "nonsense")},
		"-target-tls-ca: open":                    {CA: filepath.Join(a.dir, "missing")},
		"-target-tls-cert: ":                      {CA: a.ca(), Cert: key, Key: cert},
		"-target-tls-cert: needs -target-tls-key": {CA: a.ca(), Cert: cert},
		"-target-tls-cert: needs -target-tls-ca":  {Cert: cert, Key: key},
		"-target-key-file: open":                  {BearerFile: filepath.Join(a.dir, "missing")},
		"must hold one key":                       {BearerFile: a.file("two", "a-key another-key")},
	} {
		err := access.Validate(true)
		if err == nil {
			_, err = DialProxy("127.0.0.1:1", "127.0.0.1:1", access)
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "another-key") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := (Access{CA: "x"}).Validate(false); err == nil || !strings.Contains(err.Error(), "-target") {
		t.Errorf("%v", err)
	}
	if err := (Access{}).Validate(false); err != nil {
		t.Error(err)
	}
}
