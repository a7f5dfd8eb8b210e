package tap

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"strings"

	"breakwater/lab/server/miniotest"

	"github.com/minio/madmin-go/v3"
)

// storage reads S3, and MinIO's interface for administrators, at a place.
type storage struct{ place string }

func (storage) reads(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("delete") || strings.HasPrefix(r.URL.Path, "/minio/admin/") && strings.Contains(r.URL.Path, "/idp/")
}

func (s storage) asked(r *http.Request, body []byte, answer *http.Response) []string {
	if strings.HasPrefix(r.URL.Path, "/minio/") {
		return []string{s.administered(r, body)}
	}
	q := r.URL.Query()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	object := "s3://" + bucket + "/" + key
	switch {
	case r.Method == http.MethodPost && q.Has("delete"):
		return deleted(bucket, body, answer)
	case q.Has("uploads"), q.Has("uploadId") && r.Method != http.MethodPost: // nobody sees a part before all are put together
		return nil
	case key == "":
		return []string{strings.ToLower(r.Method) + " s3://" + bucket + "?" + r.URL.RawQuery}
	case r.Method == http.MethodPut && len(q) == 0, r.Method == http.MethodPut && q.Get("x-id") != "" && len(q) == 1, q.Has("uploadId"):
		return []string{"put " + object}
	case r.Method == http.MethodDelete && q.Has("versionId"):
		return []string{"destroy " + object}
	case r.Method == http.MethodDelete:
		return []string{"delete " + object}
	case q.Has("retention"):
		return []string{"retain " + object}
	case q.Has("restore"):
		return []string{"thaw " + object}
	}
	return []string{strings.ToLower(r.Method) + " " + object + "?" + r.URL.RawQuery}
}

// deleted reads the deletion of many objects.
func deleted(bucket string, body []byte, answer *http.Response) []string {
	var asked struct {
		Object []struct{ Key, VersionId string }
	}
	var failed struct {
		Error []struct{ Key, VersionId string }
	}
	said, err := io.ReadAll(answer.Body)
	answer.Body = io.NopCloser(bytes.NewReader(said))
	if err != nil || xml.Unmarshal(body, &asked) != nil || xml.Unmarshal(said, &failed) != nil {
		return []string{"delete what cannot be read in s3://" + bucket}
	}
	var all []string
	for _, o := range asked.Object {
		verb := "delete"
		if o.VersionId != "" {
			verb = "destroy"
		}
		all = append(all, verb+" s3://"+bucket+"/"+o.Key)
		for _, f := range failed.Error {
			if f == o {
				all = all[:len(all)-1]
			}
		}
	}
	return all
}

// administered reads what an administrator changed.
func (s storage) administered(r *http.Request, body []byte) string {
	_, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/minio/admin/"), "/")
	name := r.URL.Query().Get("name")
	switch what {
	case "add-canned-policy":
		return "write policy " + name + " at " + s.place
	case "remove-canned-policy":
		return "remove policy " + name + " at " + s.place
	case "idp/builtin/policy/attach", "idp/builtin/policy/detach":
		// The body is encrypted with the administrator's secret key.
		var req madmin.PolicyAssociationReq
		raw, err := madmin.DecryptData(miniotest.RootPassword, bytes.NewReader(body))
		if err == nil && json.Unmarshal(raw, &req) == nil && req.Group == "" {
			return what[strings.LastIndex(what, "/")+1:] + " policy " + strings.Join(req.Policies, ",") + ", user " + req.User + " at " + s.place
		}
	}
	return "administer " + what + "?" + r.URL.RawQuery + " at " + s.place
}

// vault reads the secret store at an address.
type vault struct{ address string }

func (vault) reads(*http.Request) bool { return false }

func (v vault) asked(r *http.Request, _ []byte, _ *http.Response) []string {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	if strings.HasPrefix(path, "sys/capabilities") || strings.HasPrefix(path, "auth/token/lookup") { // questions that are put by POST
		return nil
	}
	mount, rest, _ := strings.Cut(path, "/")
	what, secret, _ := strings.Cut(rest, "/")
	verb := map[string]string{"data": "write", "delete": "delete", "undelete": "undelete", "destroy": "destroy"}[what]
	if verb == "" || r.Method == http.MethodDelete || mount == "sys" || mount == "auth" {
		return []string{strings.ToLower(r.Method) + " " + path + " at " + v.address}
	}
	return []string{verb + " secret " + mount + "/" + secret + " at " + v.address}
}

// connect reads a Connect worker of a region.
type connect struct{ region string }

func (connect) reads(*http.Request) bool { return false }

func (c connect) asked(r *http.Request, _ []byte, _ *http.Response) []string {
	name, verb, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/connectors/"), "/")
	if verb == "stop" || verb == "resume" || verb == "pause" {
		return []string{verb + " connector " + name + " of " + c.region}
	}
	return []string{strings.ToLower(r.Method) + " " + r.URL.Path + " of " + c.region}
}
