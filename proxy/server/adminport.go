package server

import (
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc"
)

// adminHandler serves gRPC and REST on one port, told apart by content type.
//
// Nothing protects a local port but that it is loopback; so REST is refused there
// under a host name of somebody else's, which a web page could point at loopback
// (DNS rebinding). gRPC needs no such check: no web page can send it.
func adminHandler(server *grpc.Server, rest http.Handler, local bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"):
			server.ServeHTTP(w, r)
		case local && !loopback(hostOf(r.Host)):
			http.Error(w, "the admin port answers only under a loopback name", http.StatusForbidden)
		default:
			rest.ServeHTTP(w, r)
		}
	})
}

func hostOf(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}
