package server

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"paceline/proxy/compat"
	"paceline/proxy/telemetry"
	"paceline/proxy/upstream"
)

// gate lets those in who bring a key. A nil keyring lets everybody in.
type gate struct {
	keys  *keyring
	admin bool // only keys that open the admin listener will do

	metrics *telemetry.Metrics // nil: none
}

// Whoever probes whether the proxy is alive has no key.
const healthMethods = "/grpc.health.v1.Health/"

// pass returns a context that knows whose key it is.
func (g gate) pass(ctx context.Context, authorization string) (context.Context, error) {
	if g.keys == nil {
		return ctx, nil
	}
	in, err := g.find(ctx, authorization)
	if err != nil {
		g.metrics.Refused(ctx, telemetry.RefusedKey)
	}
	return in, err
}

func (g gate) find(ctx context.Context, authorization string) (context.Context, error) {
	scheme, token, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		return nil, status.Error(codes.Unauthenticated, "authorization: must be a bearer key")
	}
	switch key := g.keys.find(strings.TrimSpace(token)); {
	case key == nil:
		return nil, status.Error(codes.Unauthenticated, "authorization: not a known key")
	case g.admin && !key.admin:
		return nil, status.Error(codes.PermissionDenied, "authorization: the key does not open the admin listener")
	default:
		return upstream.WithCaller(ctx, &key.caller), nil
	}
}

func (g gate) passCall(ctx context.Context, method string) (context.Context, error) {
	if strings.HasPrefix(method, healthMethods) {
		return ctx, nil
	}
	var authorization string
	if values := metadata.ValueFromIncomingContext(ctx, "authorization"); len(values) > 0 {
		authorization = values[0]
	}
	return g.pass(ctx, authorization)
}

// handler lets HTTP requests in that bring a key, and answers others in SGLang's
// words. The key stays here: what is behind gets its own.
func (g gate) handler(h http.Handler) http.Handler {
	if g.keys == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := g.pass(r.Context(), r.Header.Get("Authorization"))
		if err != nil {
			compat.WriteUnauthorized(w)
			return
		}
		r = r.WithContext(ctx)
		r.Header.Del("Authorization")
		h.ServeHTTP(w, r)
	})
}
