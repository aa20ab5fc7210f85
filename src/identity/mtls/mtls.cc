#include "identity/mtls/mtls.h"

namespace postern::identity {

Task<Result<void>> Mtls::apply(Attempt&) const { return Result<void>(); }

}  // namespace postern::identity
