package server

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

func TestTheStatusPageIsWholeAndReadsWhatTheStatusTells(t *testing.T) {
	r := start(t, newFake(t), nil)
	page := r.http("GET", r.AdminAddr()+"/", "")
	if page.code != 200 || !strings.HasPrefix(page.header.Get("Content-Type"), "text/html") ||
		!strings.Contains(page.header.Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Fatalf("%d %v", page.code, page.header)
	}
	if asset := regexp.MustCompile(`(src|href)=|url\(|@import|https?://`).FindString(page.body); asset != "" {
		t.Errorf("the page needs more than itself: %s", asset)
	}
	var status map[string]map[string]any
	_ = json.Unmarshal([]byte(r.http("GET", r.AdminAddr()+"/v1/admin/status", "").body), &status) // fields that are no objects are left out
	for object, short := range map[string]string{"batcher": "b", "upstream": "u"} {
		for _, m := range regexp.MustCompile(`[^\w.]`+short+`\.([a-z_]+)`).FindAllStringSubmatch(page.body, -1) {
			if _, there := status[object][m[1]]; !there {
				t.Errorf("the page reads %s.%s, which the status does not tell", object, m[1])
			}
		}
	}
	if got := r.http("GET", r.AdminAddr()+"/", "", "Host", "evil.example"); got.code != 403 {
		t.Errorf("under another name: %d", got.code)
	}
}
