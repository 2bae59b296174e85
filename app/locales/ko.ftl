# 공간
place-prompt = 프롬프트
place-canvas = 캔버스
place-gallery = 갤러리

# 명령
action-generate = 생성
action-cancel = 실행 취소하기
action-show-prompt = 프롬프트로 이동
action-show-canvas = 캔버스로 이동
action-show-gallery = 갤러리로 이동
action-show-queue = 대기열 보기
action-show-models = 모델 보기
action-show-preferences = 설정
action-show-palette = 명령 팔레트
action-show-history = 프롬프트 기록
action-show-export = 여러 장 만들기
action-import-jobs = 파일에서 작업 읽기
action-open-picture = 캔버스에서 그림 열기
action-open-settings = 그림에서 설정 가져오기
action-undo = 되돌리기
action-redo = 다시 하기
action-new-seed = 새 시드 뽑기
action-lock-seed = 이 시드 유지
action-swap-sides = 가로와 세로 바꾸기
action-reset-settings = 모델 기본 설정 사용
action-pause-queue = 대기열 일시 정지
action-generate-forever = 계속 생성
action-switch-theme = 어둡게 또는 밝게
action-toggle-side-panel = 옆 패널 보기

# 테마와 미리 보기
theme-system = 시스템 설정
theme-dark = 어둡게
theme-light = 밝게
previews-off = 끔
previews-fast = 빠르게

# 위쪽 막대
bar-queue = { $pictures }장 남음
bar-loading = 모델 불러오는 중
bar-no-model = 모델 없음

# 프롬프트 패널
prompt = 프롬프트
prompt-hint = 무엇을 그릴까요
negative = 네거티브 프롬프트
negative-hint = 피하고 싶은 것
tokens = 토큰 { $tokens }/{ $room }
tokens-tip = 프롬프트가 텍스트 인코더의 자리를 얼마나 채우는지 나타냅니다. 긴 프롬프트는 나누어 읽으며, 부분마다 시간이 조금 더 듭니다.
model = 모델
model-tip = 그림을 그리는 체크포인트입니다. 바꾸면 불러오는 데 잠시 걸립니다.
size = 크기(픽셀)
size-tip = 픽셀이 두 배면 시간과 메모리도 두 배 이상 듭니다. 모델이 학습한 크기에 가까울수록 좋습니다.
width = 가로
height = 세로
ratio = 비율 고르기
seed = 시드
seed-tip = 같은 시드와 설정은 같은 그림이 됩니다. 잠그지 않으면 실행마다 새로 뽑습니다. 비용은 없습니다.
count = 장수
count-tip = 한 번에 만드는 그림 수이며 시드가 하나씩 커집니다. 시간은 장수만큼 듭니다.
steps = 스텝
steps-tip = 그림을 다듬는 횟수입니다. 시간은 횟수만큼 들고, 30을 넘으면 거의 달라지지 않습니다.
guidance = 가이던스
guidance-tip = 그림이 프롬프트를 얼마나 따르는지 정합니다. 1이면 꺼지고 시간이 절반이 됩니다. 너무 높으면 타 보입니다.
sampler = 샘플러
sampler-tip = 스텝을 만드는 방법입니다. DPM++ 2M은 적은 스텝으로 충분하고, Euler a는 스텝 수에 따라 달라집니다.
schedule = 스케줄
schedule-tip = 스텝마다 노이즈를 나누는 방법입니다. 비용은 없습니다.
generate = 생성
cancel = 취소
queue-another = { $keys }(으)로 하나 더 대기열에 넣기

# 가운데
viewer-starting = 준비 중
viewer-cancelled = 취소했습니다. 여기까지 그렸습니다.
viewer-go-on = 그래도 만들기
viewer-empty-title = 무엇을 그릴까요?
viewer-empty-text = 프롬프트를 쓰거나 아래에서 골라 시작하세요.
canvas-empty = 고칠 그림을 여세요
gallery-empty = 만든 그림이 여기에 나타납니다

# 실패
failure-title = 잘 되지 않았습니다
failure-dismiss = 그림으로 돌아가기
failure-copy = 자세한 내용 복사
failure-model = { $model } 모델을 불러올 수 없습니다
failure-use-box = 기본 모델 사용
notice-journal-failed = 변경 사항을 저장할 수 없습니다: { $error }

# 상태
status-ready = 준비됨
status-loading = { $model } 불러오는 중
status-encoding = 프롬프트 읽는 중
status-step = 스텝 { $step }/{ $steps }
status-decoding = 그림 디코딩 중
status-left = { $time } 남음
status-cancels = { $keys } 키로 취소
status-done = { $time } 만에 완료  ·  시드 { $seed }
