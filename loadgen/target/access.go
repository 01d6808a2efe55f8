package target

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"paceline/sglang"
)

// Access says how to reach a proxy on another machine. The zero value uses neither TLS nor a
// key.
type Access struct {
	CA         string // PEM file with the authority of its certificate, or "system"; empty: no TLS
	Cert, Key  string // PEM files with the client certificate and its key
	BearerFile string // file with the bearer key to send with each call

	Dial sglang.Dial // connects to it; nil dials TCP
}

// Validate names a flag that does not fit the others. running says whether -target is set.
func (a Access) Validate(running bool) error {
	switch {
	case a.CA+a.Cert+a.Key+a.BearerFile == "":
		return nil
	case !running:
		return errors.New("-target-tls-ca, -target-tls-cert, -target-tls-key and -target-key-file: need -target")
	case (a.Cert == "") != (a.Key == ""):
		return errors.New("-target-tls-cert: needs -target-tls-key, and vice versa")
	case a.Cert != "" && a.CA == "":
		return errors.New("-target-tls-cert: needs -target-tls-ca too")
	}
	return nil
}

// options returns the dial options of a connection. Its error names a flag.
func (a Access) options(plain bool) ([]grpc.DialOption, error) {
	transport := insecure.NewCredentials()
	if a.CA != "" && !plain {
		config, err := a.tls()
		if err != nil {
			return nil, err
		}
		transport = credentials.NewTLS(config)
	}
	opts := []grpc.DialOption{grpc.WithTransportCredentials(transport)}
	if a.Dial != nil {
		opts = append(opts, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return a.Dial(ctx, "tcp", addr) }))
	}
	key, err := a.key()
	if key != "" {
		opts = append(opts, grpc.WithPerRPCCredentials(bearer(key)))
	}
	return opts, err
}

// key reads the bearer key; empty without a file.
func (a Access) key() (string, error) {
	if a.BearerFile == "" {
		return "", nil
	}
	data, err := os.ReadFile(a.BearerFile)
	if err != nil {
		return "", fmt.Errorf("-target-key-file: %w", err)
	}
	key := strings.TrimSpace(string(data))
	if key == "" || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("-target-key-file: %s must hold one key of printable ASCII characters", a.BearerFile)
	}
	return key, nil
}

func (a Access) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CA != "system" {
		pem, err := os.ReadFile(a.CA)
		if err != nil {
			return nil, fmt.Errorf("-target-tls-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-target-tls-ca: %s holds no certificate", a.CA)
		}
	}
	if a.Cert != "" {
		pair, err := tls.LoadX509KeyPair(a.Cert, a.Key)
		if err != nil {
			return nil, fmt.Errorf("-target-tls-cert: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// bearer sends a key with each call.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials. It returns false because a proxy
// may require keys without TLS, for example on loopback. The proxy warns about it.
func (bearer) RequireTransportSecurity() bool { return false }
