// SPDX-License-Identifier: Apache-2.0

package yang

import "encoding/json"

func jsonNumber(s string) json.Number { return json.Number(s) }
