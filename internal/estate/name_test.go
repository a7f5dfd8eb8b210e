package estate_test

import (
	"strings"
	"testing"

	"breakwater/internal/estate"
)

// José, as one keyboard writes it and as another does.
const composed, decomposed = "Jos\u00e9", "Jose\u0301"

func TestNames(t *testing.T) {
	role := estate.Role{Role: "dr-approver", Members: []estate.Member{{Name: composed}, {Name: "bob"}}}
	for name, want := range map[string]string{composed: composed, decomposed: composed, "bob": "bob", "JOS\u00c9": "", composed + "\u00a0": "", "Bob": "", "": ""} {
		m, ok := role.Member(name)
		if ok != (want != "") || ok && m.Name != want {
			t.Errorf("Member(%+q) = %+v, %t; want %+q", name, m, ok, want)
		}
	}
	if got, want := role.NoMember("JOS\u00c9"), `"JOS\u00c9" is not a member of role dr-approver, which has "Jos\u00e9", "bob"`; got != want {
		t.Errorf("NoMember = %s, want %s", got, want)
	}
	e := estate.Estate{Roles: []estate.Role{{Role: composed}}}
	if _, ok := e.Role(decomposed); !ok {
		t.Error("a role is another one by how its name is written")
	}
	twice := estate.Estate{Roles: []estate.Role{{Role: "a", Members: []estate.Member{{Name: composed}, {Name: decomposed}}}}}
	if found := problems(&twice, "declared twice"); found != 1 {
		t.Errorf("%d members are declared twice, want 1", found)
	}
}

func problems(e *estate.Estate, says string) (n int) {
	for _, p := range e.Validate() {
		if strings.Contains(p.Text, says) {
			n++
		}
	}
	return n
}

func TestRunID(t *testing.T) {
	for id, says := range map[string]string{
		"RegionalFailover-lab-20261121-031205": "", `drill of "march" 1`: "", "a/b": "",
		"\u00fcbung-1": `"\u00fc"`, "a\tb": `'\t'`, "a\nb": `'\n'`, " a": "space", "": "0 bytes", strings.Repeat("x", 1001): "1001 bytes", "\x7f": `'\x7f'`,
	} {
		why := estate.RunID(id)
		if (why == "") != (says == "") || !strings.Contains(why, strings.Trim(says, `"'`)) {
			t.Errorf("RunID(%+q) = %q, want %q in it", id, why, says)
		}
	}
}

// No URL of an estate may hold a user, nor may what is said of it show the password.
func TestNoUserInURLs(t *testing.T) {
	const secret = "s3cr3t-pw"
	for _, url := range []string{"https://ops:" + secret + "@host:8200", "https://" + secret + "@host", "https://ops:" + secret + "%@host", "ops:" + secret + "@host"} {
		e := estate.Estate{
			Ledger:  estate.Ledger{Endpoint: url},
			Regions: []estate.Region{{Region: "east", Storage: estate.Storage{Endpoint: url}, Connect: &estate.Connect{URL: url}, Vault: &estate.Vault{Address: url}}},
			Backup:  &estate.Backup{Endpoint: url},
		}
		found := map[string]bool{}
		for _, p := range e.Validate() {
			if strings.Contains(p.Text, secret) {
				t.Errorf("%s shows the password: %s", p.At, p.Text)
			}
			if strings.Contains(p.Text, "holds a user") {
				found[p.At] = true
			}
		}
		for _, at := range []string{"/ledger/endpoint", "/regions/0/storage/endpoint", "/regions/0/connect/url", "/regions/0/vault/address", "/backup/endpoint"} {
			if !found[at] {
				t.Errorf("%s: %q is accepted", at, url)
			}
		}
	}
}
