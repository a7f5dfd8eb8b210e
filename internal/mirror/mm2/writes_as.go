package mm2

import (
	"context"
	"regexp"
	"strings"
)

// loginUser finds the user in a sasl.jaas.config.
var loginUser = regexp.MustCompile(`\busername\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s;"']+))`)

// WritesAs asks the worker as whom the checkpoint connector comes to the target: that
// one moves groups. It is empty where the configuration leaves it to a file, a
// certificate or a token.
func (m *Mirror) WritesAs(ctx context.Context) (string, error) {
	config, err := m.c.Worker.config(ctx, m.c.Checkpoint)
	if err != nil {
		return "", err
	}
	// As MirrorCheckpointConfig lays them over one another for its admin client.
	get := func(key string) string {
		for _, prefix := range []string{"target.admin.", "admin.", "target.cluster."} {
			if v, ok := config[prefix+key]; ok {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
	switch strings.ToUpper(get("security.protocol")) {
	case "", "PLAINTEXT":
		return "ANONYMOUS", nil
	case "SASL_PLAINTEXT", "SASL_SSL":
	default:
		return "", nil
	}
	found := loginUser.FindStringSubmatch(get("sasl.jaas.config"))
	if found == nil {
		return "", nil
	}
	if user := found[1] + found[2] + found[3]; !strings.Contains(user, "${") {
		return user, nil
	}
	return "", nil
}
